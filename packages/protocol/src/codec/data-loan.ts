import { STREAM_REQUEST_BYTES } from './data-stream.ts';
import { isZero, malformed, readU64, writeU64 } from './stream-fields.ts';

/** Size of the random bytes that a loan is known by. */
export const LOAN_SEAL_BYTES = 16;

/** Size of the terms of a loan, bytes. */
export const LOAN_TERMS_BYTES: number = 48 + LOAN_SEAL_BYTES;

const SEAL_AT = 24;
const FILE_AT: number = SEAL_AT + LOAN_SEAL_BYTES;

const LOAN_TAG = 0x05;
const RETURN_TAG = 0x07;

/** Asks for a value to be read where it lies, in the memory of its holder. */
export interface LoanRequest {
  readonly task: number;
  /** Process that is going to read. */
  readonly reader: number;
  /** Size of the value, which the holder's has to have. */
  readonly totalBytes: number;
}

/** A file in memory that has the bytes of a value that is lent, from its beginning. */
export interface LoanedFile {
  /** Its number among the files that the holder has open. */
  readonly descriptor: number;
  /** Which file of this host it is: both together are no other's. */
  readonly device: bigint;
  readonly inode: bigint;
}

/** Where a value that is lent lies. */
export interface LoanTerms {
  /** Process whose memory it is in, by its own count. */
  readonly pid: number;
  /** Where the seal lies. It is there for as long as the value is, and zero afterwards. */
  readonly sealAddress: number;
  readonly valueAddress: number;
  /** Random bytes. Whoever reads them at their address reads the memory that is meant. */
  readonly seal: Uint8Array;
  /** Undefined where it is in no file. */
  readonly file: LoanedFile | undefined;
}

/** Whether a request on a data stream asks for a loan. */
export function isLoanRequest(bytes: Uint8Array): boolean {
  return bytes[0] === LOAN_TAG;
}

/** Whether a request on a data stream gives back what was lent on it. */
export function isLoanReturn(bytes: Uint8Array): boolean {
  return (
    bytes[0] === RETURN_TAG &&
    bytes.byteLength === STREAM_REQUEST_BYTES &&
    isZero(bytes.subarray(1))
  );
}

/**
 * Encodes a request: the tag, 7 zero bytes, then `task`, `reader` and `totalBytes` as little-endian
 * u64.
 */
export function encodeLoanRequest(request: LoanRequest): Uint8Array {
  const bytes = Buffer.alloc(STREAM_REQUEST_BYTES);
  bytes[0] = LOAN_TAG;
  writeU64(bytes, 8, request.task);
  writeU64(bytes, 16, request.reader);
  writeU64(bytes, 24, request.totalBytes);
  return bytes;
}

/**
 * Decodes a request.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is none.
 */
export function decodeLoanRequest(bytes: Uint8Array): LoanRequest {
  if (bytes.byteLength !== STREAM_REQUEST_BYTES || !isLoanRequest(bytes)) throw malformed();
  if (!isZero(bytes.subarray(1, 8))) throw malformed();
  return {
    task: readU64(bytes, 8),
    reader: readU64(bytes, 16),
    totalBytes: readU64(bytes, 24),
  };
}

/** Encodes that what was lent is not needed any more: the tag and 31 zero bytes. No answer follows. */
export function encodeLoanReturn(): Uint8Array {
  const bytes = Buffer.alloc(STREAM_REQUEST_BYTES);
  bytes[0] = RETURN_TAG;
  return bytes;
}

/**
 * Encodes terms: `pid`, `sealAddress` and `valueAddress` as little-endian u64, then the seal, then of the file
 * its `descriptor` and one more, `device` and `inode`, again as u64: three zeros where there is none.
 */
export function encodeLoanTerms(terms: LoanTerms): Uint8Array {
  const bytes = Buffer.alloc(LOAN_TERMS_BYTES);
  writeU64(bytes, 0, terms.pid);
  writeU64(bytes, 8, terms.sealAddress);
  writeU64(bytes, 16, terms.valueAddress);
  bytes.set(terms.seal, SEAL_AT);
  const { file } = terms;
  if (file === undefined) return bytes;
  writeU64(bytes, FILE_AT, file.descriptor + 1);
  bytes.writeBigUInt64LE(file.device, FILE_AT + 8);
  bytes.writeBigUInt64LE(file.inode, FILE_AT + 16);
  return bytes;
}

/**
 * Decodes terms.
 *
 * @throws FarmError `ERR_PROTOCOL` where these are none. A seal of zeros would be one that is broken.
 */
export function decodeLoanTerms(bytes: Uint8Array): LoanTerms {
  if (bytes.byteLength !== LOAN_TERMS_BYTES) throw malformed();
  const seal = new Uint8Array(bytes.subarray(SEAL_AT, FILE_AT));
  if (isZero(seal)) throw malformed();
  return {
    pid: readU64(bytes, 0),
    sealAddress: readU64(bytes, 8),
    valueAddress: readU64(bytes, 16),
    seal,
    file: decodeFile(bytes.subarray(FILE_AT)),
  };
}

function decodeFile(bytes: Uint8Array): LoanedFile | undefined {
  const number = readU64(bytes, 0);
  if (number === 0) {
    if (!isZero(bytes)) throw malformed();
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    descriptor: number - 1,
    device: view.getBigUint64(8, true),
    inode: view.getBigUint64(16, true),
  };
}
