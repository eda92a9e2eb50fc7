/** User values: what travels between clients and workers as bytes nobody in between looks at. */
export { decodeValue, type DecodeOptions } from './decoder.ts';
export { encodeValue, type EncodedValue, type EncodeOptions } from './encode-value.ts';
export { FUTURE } from './future-symbol.ts';
export { decodeError, encodeError, type EncodeErrorOptions, errorText } from './remote-error.ts';
export {
  makeResultArray,
  takeResultArray,
  type AllocateMemory,
  type TypedArrayKind,
} from './result-array.ts';
export { framesOf } from './stack-frames.ts';
export { type EncodedColumn, ValueColumn } from './value-column.ts';
