// Numbers and counts as people read them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => plain.format(n);

export const many = (n, one, several = `${one}s`) => `${count(n)} ${n === 1 ? one : several}`;

/** A number with a true minus sign and a fixed number of decimals. */
export function number(x, decimals = 2) {
  const text = Math.abs(x).toFixed(decimals);
  return x < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

export function signed(x, decimals = 2) {
  const text = number(x, decimals);
  return x >= 0 || !text.startsWith("\u2212") ? `+${text.replace("\u2212", "")}` : text;
}

/** How many decimals show differences of about this size. */
export const decimalsFor = (spread) =>
  spread > 0 ? Math.min(5, Math.max(1, Math.ceil(1 - Math.log10(spread)))) : 2;

export const milliseconds = (ms) =>
  ms >= 995 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(ms >= 99.5 ? 0 : ms >= 0.995 ? 1 : 2)} ms`;

export function duration(seconds) {
  if (seconds < 60) return many(Math.floor(seconds), "second");
  if (seconds < 3600) return many(Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return many(Math.floor(seconds / 86400), "day");
}

export function bytes(n) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (n >= size) return `${(n / size).toFixed(n >= 10 * size ? 0 : 1)} ${unit}`;
  }
  return `${count(n)} B`;
}

export const label = (thing) => thing.title ?? String(thing.item);

/** "a, b and c" */
export const listed = (texts) =>
  texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts[texts.length - 1]}`;
