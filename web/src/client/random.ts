// 128 random bits, made per page load and never stored. Knows only the platform's generator.

/** 32 lower-case hexadecimal digits. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
