// Asking for a key where the server needs one.

import { get } from "./api.js";
import { $ } from "./dom.js";
import * as keep from "./keep.js";

/** Shows the form until a key works, then calls `then`. */
export function need(then, why = "") {
  $("content").hidden = true;
  $("key-form").hidden = false;
  $("key-problem").textContent = keep.read("key") ? why : "";
  keep.forget("key");
  $("forget-key").hidden = true;
  $("key").focus();
  $("key-form").onsubmit = async (event) => {
    event.preventDefault();
    const key = $("key").value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) {
      $("key-problem").textContent = key ? "A key has no spaces and no special letters." : "Paste a key first.";
      return;
    }
    keep.write("key", key);
    try {
      await get("/v1/model");
    } catch (error) {
      if (error.kind === "key" || error.kind === "forbidden") keep.forget("key");
      $("key-problem").textContent = error.message;
      $("key").select();
      return;
    }
    $("key").value = "";
    $("key-form").hidden = true;
    $("content").hidden = false;
    show();
    $("main").focus();
    then();
  };
}

/** Shows the button that forgets the key, where there is one. */
export function show() {
  $("forget-key").hidden = !keep.read("key");
  $("forget-key").onclick = () => {
    keep.forget("key");
    location.reload();
  };
}
