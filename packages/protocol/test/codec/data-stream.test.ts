import { expect, test } from 'vitest';

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
