/** Packed little-endian u32 numbers: compact on the wire, readable without decoding. */

/**
 * Packs numbers into 4 bytes each.
 *
 * @example u32At(packU32([7, 9]), 1) // 9
 */
export function packU32(numbers: readonly number[] | Uint32Array): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 4);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < numbers.length; index++) {
    view.setUint32(index * 4, numbers[index] ?? 0, true);
  }
  return bytes;
}

/** How many numbers a column holds. */
export function u32Count(column: Uint8Array): number {
  return column.byteLength >>> 2;
}

/** Number `index` of a column; the caller keeps `index` in range. */
export function u32At(column: Uint8Array, index: number): number {
  const at = index * 4;
  return (
    ((column[at] ?? 0) |
      ((column[at + 1] ?? 0) << 8) |
      ((column[at + 2] ?? 0) << 16) |
      ((column[at + 3] ?? 0) << 24)) >>>
    0
  );
}
