import { expect, test } from 'vitest';

import {
  decodeLoanRequest,
  decodeLoanTerms,
  encodeLoanRequest,
  encodeLoanReturn,
  encodeLoanTerms,
  isLoanRequest,
  isLoanReturn,
  LOAN_TERMS_BYTES,
} from '../../src/codec/data-loan.ts';
import {
  decodeStreamAnswer,
  decodeStreamRequest,
  encodeStreamAnswer,
  encodeStreamRequest,
} from '../../src/codec/data-stream.ts';

test('requests and answers arrive as they were', () => {
  const request = { task: 2 ** 33 + 7, offset: 2 ** 32, totalBytes: 2 ** 32 + 1, checks: true };
  expect(decodeStreamRequest(encodeStreamRequest(request))).toEqual(request);
  for (const kind of ['bytes', 'failed', 'loan'] as const) {
    const answer = { kind, byteLength: 2 ** 40 };
    expect(decodeStreamAnswer(encodeStreamAnswer(answer))).toEqual(answer);
  }
});

test('what is not a request or an answer is refused', () => {
  const request = encodeStreamRequest({ task: 1, offset: 2, totalBytes: 3, checks: false });
  const answer = encodeStreamAnswer({ kind: 'bytes', byteLength: 1 });
  const refused = { code: 'ERR_PROTOCOL' };
  const changed = (bytes: Uint8Array, at: number): Uint8Array => {
    const copy = bytes.slice();
    copy[at] = 0xff;
    return copy;
  };
  for (const at of [0, 1, 2, 15, 23]) {
    expect(() => decodeStreamRequest(changed(request, at))).toThrow(
      expect.objectContaining(refused),
    );
  }
  for (const at of [0, 1, 15]) {
    expect(() => decodeStreamAnswer(changed(answer, at))).toThrow(expect.objectContaining(refused));
  }
  expect(() => decodeStreamRequest(answer)).toThrow(expect.objectContaining(refused));
  expect(() => decodeStreamAnswer(request)).toThrow(expect.objectContaining(refused));
});

test('what is said about loans arrives as it was', () => {
  const request = { task: 2 ** 33 + 7, reader: 4_194_304, totalBytes: 2 ** 40 };
  const bytes = encodeLoanRequest(request);
  expect(isLoanRequest(bytes)).toBe(true);
  expect(decodeLoanRequest(bytes)).toEqual(request);
  const terms = {
    pid: 4_194_303,
    sealAddress: 2 ** 47 - 16,
    valueAddress: 0x7f12_3456_7890,
    seal: Uint8Array.from({ length: 16 }, (_, index) => index),
  };
  const inFile = { descriptor: 0, device: 1n, inode: 2n ** 64n - 1n };
  for (const file of [undefined, inFile, { ...inFile, descriptor: 1_048_575 }]) {
    expect(encodeLoanTerms({ ...terms, file }).byteLength).toBe(LOAN_TERMS_BYTES);
    expect(decodeLoanTerms(encodeLoanTerms({ ...terms, file }))).toEqual({ ...terms, file });
  }
  expect(isLoanReturn(encodeLoanReturn())).toBe(true);
  const fetching = encodeStreamRequest({ task: 1, offset: 0, totalBytes: 3, checks: false });
  for (const other of [bytes, fetching]) expect(isLoanReturn(other)).toBe(false);
  for (const other of [encodeLoanReturn(), fetching]) expect(isLoanRequest(other)).toBe(false);
});

test('what is not about loans is refused', () => {
  const refused: unknown = expect.objectContaining({ code: 'ERR_PROTOCOL' });
  const request = encodeLoanRequest({ task: 1, reader: 2, totalBytes: 3 });
  for (const at of [0, 1, 7, 15, 23, 31]) {
    const changed = request.slice();
    changed[at] = 0xff;
    expect(() => decodeLoanRequest(changed)).toThrow(refused);
  }
  expect(() => decodeLoanRequest(request.subarray(1))).toThrow(refused);
  const seal = new Uint8Array(16);
  const terms = { pid: 1, sealAddress: 2, valueAddress: 3, seal, file: undefined };
  const broken = encodeLoanTerms(terms);
  expect(() => decodeLoanTerms(broken)).toThrow(refused);
  expect(() => decodeLoanTerms(broken.subarray(1))).toThrow(refused);
  const half = encodeLoanTerms({ ...terms, seal: seal.fill(1) });
  half[LOAN_TERMS_BYTES - 1] = 1;
  expect(() => decodeLoanTerms(half)).toThrow(refused);
  const endless = encodeLoanReturn();
  endless[31] = 1;
  expect(isLoanReturn(endless)).toBe(false);
});
