import type { ByteSink } from './byte-sink.ts';
import {
  aligned,
  ALIGNMENT,
  BUFFERS_HEADER_BYTES,
  SegmentFlag,
  Tag,
  ZERO_COPY_BYTES_MIN,
} from './format.ts';

/** A view, and where in the items its segment and offset are to be filled in. */
interface ViewSlot {
  readonly at: number;
  readonly start: number;
  readonly end: number;
  readonly elementBytes: number;
}

interface CollectedBuffer {
  readonly buffer: ArrayBuffer;
  readonly views: ViewSlot[];
  /** Where the ArrayBuffer itself is named. At most once: later it is a reference. */
  ownSlot: number | undefined;
  isWhole: boolean;
}

/** A range of an ArrayBuffer that travels. */
interface Segment {
  readonly buffer: ArrayBuffer;
  readonly flags: number;
  readonly start: number;
  end: number;
  skew: number;
}

/**
 * Gathers the ArrayBuffers and views of one value while it is walked, and writes their contents
 * behind it once all are known.
 *
 * Of a buffer that is not itself part of the value, only bytes that a view covers travel (a small
 * Node Buffer is a view of a pool that holds other people's data). Views that overlap or touch
 * share one segment, hence one ArrayBuffer after decoding; the gaps between others stay behind.
 */
export class BufferCollector {
  readonly #buffers = new Map<ArrayBuffer, CollectedBuffer>();

  /** Notes a view of the bytes `start` to `end`, whose u32 segment and offset go to `at`. */
  addView(at: number, view: ArrayBufferView<ArrayBuffer>, elementBytes: number): void {
    const start = view.byteOffset;
    const end = start + view.byteLength;
    this.#entry(view.buffer).views.push({ at, start, end, elementBytes });
  }

  /** Notes an ArrayBuffer whose u32 segment goes to `at`. */
  addBuffer(at: number, buffer: ArrayBuffer): void {
    const entry = this.#entry(buffer);
    entry.ownSlot = at;
    entry.isWhole = true;
  }

  /**
   * Fills in the slots, puts the header before the items that begin at `start`, and appends table
   * and contents.
   *
   * @returns where the value now starts: later than `start` if it needed alignment
   */
  finish(sink: ByteSink, start: number): number {
    const segments = this.#placeSegments(sink);
    const needsAlignment = segments.some((segment) => isLarge(segment.end - segment.start));
    const valueStart = needsAlignment ? aligned(start) : start;

    sink.shift(start, valueStart - start + BUFFERS_HEADER_BYTES);
    sink.bytes.fill(Tag.pad, start, valueStart);
    sink.bytes[valueStart] = Tag.buffers;
    sink.patchUint32(valueStart + 1, sink.position - valueStart);

    sink.varint(segments.length);
    for (const segment of segments) {
      sink.byte(segment.flags | segment.skew);
      sink.varint(segment.end - segment.start);
      if ((segment.flags & SegmentFlag.resizable) !== 0) sink.float64(segment.buffer.maxByteLength);
    }
    sink.reserve(contentsBytesMax(segments));
    for (const { buffer, start: from, end, skew } of segments) {
      if (isLarge(end - from))
        sink.fillTo(valueStart + skewed(sink.position - valueStart, skew), 0);
      sink.append(new Uint8Array(buffer, from, end - from));
    }
    return valueStart;
  }

  #entry(buffer: ArrayBuffer): CollectedBuffer {
    let entry = this.#buffers.get(buffer);
    if (entry === undefined) {
      entry = { buffer, views: [], ownSlot: undefined, isWhole: buffer.resizable };
      this.#buffers.set(buffer, entry);
    }
    return entry;
  }

  #placeSegments(sink: ByteSink): Segment[] {
    const segments: Segment[] = [];
    for (const entry of this.#buffers.values()) {
      if (entry.isWhole) placeWhole(sink, entry, segments);
      else placeViews(sink, entry, segments);
    }
    return segments;
  }
}

/** Whether contents of this size are aligned. */
function isLarge(byteLength: number): boolean {
  return byteLength >= ZERO_COPY_BYTES_MIN;
}

/** The first position from `position` on that is `skew` past the alignment boundary. */
export function skewed(position: number, skew: number): number {
  return aligned(position - skew) + skew;
}

function contentsBytesMax(segments: readonly Segment[]): number {
  return segments.reduce((sum, { start, end }) => sum + end - start + 2 * ALIGNMENT, 0);
}

function placeWhole(sink: ByteSink, entry: CollectedBuffer, segments: Segment[]): void {
  const { buffer, ownSlot, views } = entry;
  for (const view of views) {
    sink.patchUint32(view.at, segments.length);
    sink.patchUint32(view.at + 4, view.start);
  }
  if (ownSlot !== undefined) sink.patchUint32(ownSlot, segments.length);
  const flags = SegmentFlag.own | (buffer.resizable ? SegmentFlag.resizable : 0);
  segments.push({ buffer, flags, start: 0, end: buffer.byteLength, skew: 0 });
}

function placeViews(sink: ByteSink, entry: CollectedBuffer, segments: Segment[]): void {
  const views = entry.views.toSorted((a, b) => a.start - b.start || b.end - a.end);
  let rest = 0;
  while (rest < views.length) {
    const start = views[rest]?.start ?? 0;
    const first = rest;
    let end = start;
    let elementBytes = 1;
    for (let view = views[rest]; view !== undefined && view.start <= end; view = views[++rest]) {
      end = Math.max(end, view.end);
      elementBytes = Math.max(elementBytes, view.elementBytes);
    }
    // Every view stays aligned to its elements, though the first may start at an odd byte.
    const skew = start % elementBytes;
    for (const view of views.slice(first, rest)) {
      sink.patchUint32(view.at, segments.length);
      sink.patchUint32(view.at + 4, view.start - start + skew);
    }
    segments.push({ buffer: entry.buffer, flags: 0, start, end, skew });
  }
}
