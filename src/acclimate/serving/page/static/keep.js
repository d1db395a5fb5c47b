// What this browser tab remembers. Where storage is not allowed, it remembers until it is reloaded.

const memory = new Map();

function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

export function read(name) {
  try {
    const text = storage()?.getItem(`acclimate.${name}`) ?? memory.get(name);
    return text === undefined || text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

export function write(name, value) {
  const text = JSON.stringify(value);
  memory.set(name, text);
  try {
    storage()?.setItem(`acclimate.${name}`, text);
  } catch {
    // Full or forbidden: memory has it.
  }
}

export function forget(name) {
  memory.delete(name);
  try {
    storage()?.removeItem(`acclimate.${name}`);
  } catch {
    // Was never there.
  }
}

/** 128 random bits as text; randomUUID is missing on plain http to another machine. */
export const random = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
