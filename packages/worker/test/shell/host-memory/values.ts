/** A value whose every part differs from others. */
export function aValue(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += 61) bytes[at] = (at / 61) % 251;
  return bytes;
}
