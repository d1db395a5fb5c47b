// The HTTP interface, and what can go wrong with it.

import * as keep from "./keep.js";

const ROOT = document.body.dataset.root;
const PATIENCE = 15_000;

/**
 * kind: "offline" nobody answered; "key" a key is needed, or another one; "forbidden" this key may not;
 * "limited" too many requests; "unavailable" the server cannot now; "refused" the request is wrong.
 */
export class Problem extends Error {
  constructor(kind, message, { code = null, wait = null, status = 0 } = {}) {
    super(message);
    Object.assign(this, { kind, code, wait, status });
  }

  /** Whether the same request may well succeed later. */
  get passing() {
    return ["offline", "limited", "unavailable"].includes(this.kind);
  }
}

const kindOf = (status) =>
  ({ 401: "key", 403: "forbidden", 429: "limited" })[status] ?? (status >= 500 ? "unavailable" : "refused");

/** Milliseconds that the server says it took, or null. */
function timed(response) {
  const found = /(?:^|,)[^,]*;\s*dur=([0-9.]+)/.exec(response.headers.get("server-timing") ?? "");
  return found ? Number(found[1]) : null;
}

/**
 * Asks, and measures.
 *
 * Returns {data, ms, server}: the answer, milliseconds until it was here, and milliseconds inside the server.
 */
export async function ask(method, path, body, { signal } = {}) {
  const headers = { accept: "application/json" };
  const key = keep.read("key");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const patience = AbortSignal.timeout(PATIENCE);
  const began = performance.now();
  let response, text;
  try {
    response = await fetch(`${ROOT}${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      cache: "no-store",
      credentials: "omit",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    throw new Problem("offline", late ? "The server has not answered for 15 seconds." : "The server cannot be reached.");
  }
  const ms = performance.now() - began;
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem("unavailable", "What came back is not an answer of this server.", { status: response.status });
  }
  if (!response.ok) {
    const wait = Number(response.headers.get("retry-after"));
    throw new Problem(kindOf(response.status), data?.error?.message ?? `The server answered ${response.status}.`, {
      code: data?.error?.code ?? null,
      wait: wait > 0 ? wait : null,
      status: response.status,
    });
  }
  return { data, ms, server: timed(response) };
}

export const post = (path, body, options) => ask("POST", path, body, options);
export const get = (path, options) => ask("GET", path, undefined, options);
