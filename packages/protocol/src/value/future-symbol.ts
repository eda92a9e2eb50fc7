/**
 * Marks an object as a future: the encoder does not look inside it, it writes a placeholder and
 * reports the object among the value's references. A well-known symbol, so that copies of the
 * package recognise each other's futures.
 *
 * @example
 * class Future { readonly [FUTURE] = true; }
 */
export const FUTURE: unique symbol = Symbol.for('farm.future');
