/**
 * Protocol Buffers' wire format, as far as Postern's messages need it. Strict: what a well-behaved encoder
 * never sends (a wrong wire type, text that is not UTF-8, an overlong number) is an error, not a guess.
 */
import { isUtf8 } from 'node:buffer';

/** Bytes that are not the message they should be. */
export class WireError extends Error {}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

export class Reader {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;
  /** Field number and wire type of the field that `next` stopped at. */
  field = 0;
  wireType = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = bytes.length;
  }

  /** Moves to the next field of the message at hand; false at its end. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0 || tag > 0xffffffff) throw new WireError('a field has no number');
    return true;
  }

  /** An unsigned number up to 2^53 - 1. */
  uint(name: string): number {
    this.#expect(VARINT, name);
    return this.#varint();
  }

  uint32(name: string): number {
    const value = this.uint(name);
    if (value > 0xffffffff) throw new WireError(`\`${name}\` is over 32 bits`);
    return value;
  }

  bool(name: string): boolean {
    return this.uint(name) !== 0;
  }

  double(name: string): number {
    this.#expect(FIXED64, name);
    if (this.#at + 8 > this.#end) throw new WireError(`\`${name}\` ends early`);
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  string(name: string): string {
    this.#expect(BYTES, name);
    const start = this.#length(name);
    const end = this.#at;
    const short = internedAscii(this.#bytes, start, end);
    if (short !== undefined) return short;
    const text = this.#bytes.toString('utf8', start, end);
    // The decoder puts U+FFFD for what is no UTF-8; an id must not be repaired silently (ID-1).
    if (text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(start, end)))
      throw new WireError(`\`${name}\` is not valid UTF-8`);
    return text;
  }

  /**
   * Goes into the nested message at hand, so that `next` sees its fields only.
   * @returns what `leave` needs to come out again
   */
  enter(name: string): number {
    this.#expect(BYTES, name);
    const start = this.#length(name);
    const outer = this.#end;
    this.#end = this.#at;
    this.#at = start;
    return outer;
  }

  /** Comes out of a nested message, behind it, wherever reading has stopped. */
  leave(outer: number): void {
    this.#at = this.#end;
    this.#end = outer;
  }

  /** Bytes of the message at hand that are not read yet. */
  left(): number {
    return this.#end - this.#at;
  }

  /** Where the message at hand ends: for `leaveFrom`. */
  end(): number {
    return this.#end;
  }

  /** Comes out of a nested message that was not read to its end, maybe from a message deeper inside. */
  leaveFrom(end: number, outer: number): void {
    this.#at = end;
    this.#end = outer;
  }

  /** Bytes that were read or passed over. */
  position(): number {
    return this.#at;
  }

  /** Whether the field at hand is text, bytes or a message. */
  hasBytes(): boolean {
    return this.wireType === BYTES;
  }

  /** Reads a nested message with `read`. The hot messages use `enter` and `leave`, which make no closure. */
  message<T>(name: string, read: (reader: Reader) => T): T {
    const outer = this.enter(name);
    const end = this.#end;
    const value = read(this);
    // A `read` that threw half-way down was caught by the caller of this one.
    this.#end = end;
    this.leave(outer);
    return value;
  }

  /** Passes over a field that this version does not know. */
  skip(): void {
    if (this.wireType === VARINT) this.#passVarint();
    else if (this.wireType === BYTES) this.#length('an unknown field');
    else if (this.wireType === FIXED64) this.#jump(8);
    else if (this.wireType === FIXED32) this.#jump(4);
    else throw new WireError(`field ${this.field} has wire type ${this.wireType}`);
  }

  /** A number of any size: negative ones take 10 bytes. */
  #passVarint(): void {
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) throw new WireError('a number ends early');
      if ((this.#bytes[this.#at++] ?? 0) < 0x80) return;
    }
    throw new WireError('a number is longer than 10 bytes');
  }

  #jump(bytes: number): void {
    if (this.#at + bytes > this.#end) throw new WireError('a field ends early');
    this.#at += bytes;
  }

  /** Reads a length and moves behind what it measures; returns where that begins. */
  #length(name: string): number {
    const length = this.#varint();
    const start = this.#at;
    if (start + length > this.#end) throw new WireError(`\`${name}\` ends early`);
    this.#at = start + length;
    return start;
  }

  #varint(): number {
    const bytes = this.#bytes;
    const first = bytes[this.#at] ?? 0x80;
    if (first < 0x80 && this.#at < this.#end) {
      this.#at++;
      return first;
    }
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) throw new WireError('a number ends early');
      const byte = bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * factor;
      factor *= 0x80;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new WireError('a number is over 2^53 - 1');
        return value;
      }
    }
    throw new WireError('a number is longer than 10 bytes');
  }

  #expect(wireType: number, name: string): void {
    if (this.wireType !== wireType)
      throw new WireError(`\`${name}\` has wire type ${this.wireType}, not ${wireType}`);
  }
}

const INTERNED_SLOTS = 2_048;
const INTERNED_LENGTH = 32;
const interned: string[] = Array.from({ length: INTERNED_SLOTS }, () => '');

/**
 * A short ASCII string, the same one as last time where it is the same bytes: names and values come again and
 * again, and a known string need be neither made nor hashed. `undefined`: too long, or not ASCII.
 */
function internedAscii(bytes: Buffer, start: number, end: number): string | undefined {
  const length = end - start;
  if (length > INTERNED_LENGTH) return undefined;
  let hash = length;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0x80;
    if (byte >= 0x80) return undefined;
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  const slot = (hash ^ (hash >>> 15)) & (INTERNED_SLOTS - 1);
  const known = interned[slot] ?? '';
  if (equals(known, bytes, start, length)) return known;
  const made = bytes.toString('latin1', start, end);
  interned[slot] = made;
  return made;
}

function equals(text: string, bytes: Buffer, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}

const FIRST_SIZE = 16 * 1024;
/** A scratch buffer that one huge answer grew is given back. */
const KEPT_SIZE = 1024 * 1024;

/** Writes messages into one scratch buffer. Never held over an await: `finish` copies what was written. */
export class Writer {
  #bytes = Buffer.allocUnsafeSlow(FIRST_SIZE);
  #at = 0;

  /** The bytes written since the last call, in a buffer of their own. */
  finish(): Buffer {
    const written = Buffer.allocUnsafe(this.#at);
    this.#bytes.copy(written, 0, 0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > KEPT_SIZE) this.#bytes = Buffer.allocUnsafeSlow(FIRST_SIZE);
    return written;
  }

  /** Proto3: a field at its default is not written. */
  uint(field: number, value: number): void {
    if (value === 0) return;
    this.#reserve(20);
    this.#varint(field * 8 + VARINT);
    this.#varint(value);
  }

  bool(field: number, value: boolean): void {
    this.uint(field, value ? 1 : 0);
  }

  /** A field of a `oneof`, written even if it is false. */
  flag(field: number, value: boolean): void {
    this.#reserve(20);
    this.#varint(field * 8 + VARINT);
    this.#varint(value ? 1 : 0);
  }

  string(field: number, value: string): void {
    if (value !== '') this.#text(field, value);
  }

  /** An element of a repeated field, written even if it is empty. */
  element(field: number, value: string): void {
    this.#text(field, value);
  }

  /** A repeated field of numbers, packed. */
  packed(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.message(field, () => {
      for (const value of values) {
        this.#reserve(10);
        this.#varint(value);
      }
    });
  }

  bytes(field: number, value: Buffer): void {
    this.#reserve(20 + value.length);
    this.#varint(field * 8 + BYTES);
    this.#varint(value.length);
    this.#at += value.copy(this.#bytes, this.#at);
  }

  message(field: number, write: () => void): void {
    this.#reserve(20);
    this.#varint(field * 8 + BYTES);
    const start = this.#at;
    this.#at += 1;
    write();
    this.#close(start);
  }

  /** Puts the length before what was written since, making room where it takes more than a byte. */
  #close(start: number): void {
    const length = this.#at - start - 1;
    const size = length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 5;
    if (size > 1) {
      this.#reserve(size);
      this.#bytes.copyWithin(start + size, start + 1, this.#at);
    }
    this.#at = start;
    if (size === 5) this.#paddedVarint(length);
    else this.#varint(length);
    this.#at = start + size + length;
  }

  #text(field: number, value: string): void {
    // Three bytes a UTF-16 unit is the most that UTF-8 takes.
    this.#reserve(20 + value.length * 3);
    this.#varint(field * 8 + BYTES);
    const start = this.#at;
    this.#at += 1;
    if (!this.#ascii(value)) this.#at += this.#bytes.write(value, this.#at, 'utf8');
    this.#close(start);
  }

  /** Short ASCII is faster byte by byte than by a call into the runtime. */
  #ascii(value: string): boolean {
    if (value.length > 24) return false;
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) return false;
      bytes[at + i] = unit;
    }
    this.#at = at + value.length;
    return true;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  #paddedVarint(value: number): void {
    let rest = value;
    for (let i = 0; i < 4; i++) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}
