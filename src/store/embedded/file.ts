/**
 * Whether a file is a whole LMDB database. The native library maps it: where pages are missing, reading one of them ends
 * the process without a word. So a file that is cut off or no database is refused before.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';

/** Sizes in a database file, bytes; numbers are little-endian. */
const PAGE_HEADER = 24;
const META_BYTES = 152;
const MAGIC = 0xbeefc0de;
/** Offsets in a meta page behind its header. */
const AT = { version: 4, freeDb: 24, mainDb: 72, lastPage: 120, transaction: 128 } as const;
/** Offset of a tree's root in the record of a database. */
const ROOT = 40;
/** No page: an empty tree. */
const NO_PAGE = 0xffffffffffffffffn;
/** Flags of pages and of nodes. */
const BRANCH = 1;
const LEAF = 2;
const BIG_DATA = 1;
const SUB_DATABASE = 2;
/** How long a file may be empty that another process is just creating, ms. */
const CREATING_MS = 500;

/** Looks at a file that others write to. */
const MAX_LOOKS = 10;

interface Meta {
  readonly pageBytes: number;
  readonly roots: readonly bigint[];
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/** @throws Error that says what is wrong with it, and what to do */
export function checkDatabase(file: string): void {
  for (const one of [file, `${file}-lock`]) mustBeFile(one);
  if (!existsSync(file)) return;
  const descriptor = openSync(file, 'r');
  try {
    if (sizeOf(descriptor, file) === 0) return;
    let { size, meta, whole } = look(descriptor);
    // Another process that commits meanwhile writes over pages that its last commit but one was made of.
    for (let tries = 1; !whole && tries < MAX_LOOKS; tries++) {
      const before = meta?.transaction;
      ({ size, meta, whole } = look(descriptor));
      if (meta?.transaction === before) break;
    }
    if (meta === undefined)
      throw new Error(`\`${file}\` is no LMDB database, or the first part of one: ${REMEDY}`);
    if (whole) return;
    const wanted = (meta.lastPage + 1n) * BigInt(meta.pageBytes);
    throw new Error(
      `\`${file}\` is cut off or damaged: it has ${size} bytes of up to ${wanted}: ${REMEDY}`,
    );
  } finally {
    closeSync(descriptor);
  }
}

/** The library ends the process where its lock file is a directory, and waits for ever where a file is a pipe. */
function mustBeFile(file: string): void {
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined) return;
  const about = statSync(file, { throwIfNoEntry: false });
  if (about === undefined)
    throw new Error(`\`${file}\` is a link that leads nowhere: remove it, or mend it`);
  if (!about.isFile()) throw new Error(`\`${file}\` is no file: move it away`);
}

const REMEDY = 'restore it from a copy, or apply an exported state to a new directory';

function look(descriptor: number): {
  readonly size: number;
  readonly meta: Meta | undefined;
  readonly whole: boolean;
} {
  const { size } = fstatSync(descriptor);
  const meta = newestMeta(descriptor, size);
  return { size, meta, whole: meta !== undefined && isWhole(descriptor, size, meta) };
}

/** Its size; 0: it is new. @throws Error where it is empty, and was not before */
function sizeOf(descriptor: number, file: string): number {
  const until = performance.now() + CREATING_MS;
  for (;;) {
    const { size } = fstatSync(descriptor);
    if (size > 0 || !existsSync(`${file}-lock`)) return size;
    if (performance.now() > until)
      throw new Error(
        `\`${file}\` is empty, although it was in use: ${REMEDY}; or delete it and \`${file}-lock\` to begin anew`,
      );
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

/** Of the two meta pages, the one that was written last. */
function newestMeta(descriptor: number, size: number): Meta | undefined {
  const first = metaAt(descriptor, 0);
  if (first === undefined) return undefined;
  const second = metaAt(descriptor, first.pageBytes);
  // Each of the two is written in turn; a file with one of them ends before its first record.
  if (second === undefined || size < 2 * first.pageBytes) return undefined;
  return second.transaction > first.transaction ? second : first;
}

function metaAt(descriptor: number, at: number): Meta | undefined {
  const page = Buffer.alloc(PAGE_HEADER + META_BYTES);
  if (readSync(descriptor, page, 0, page.length, at) < page.length) return undefined;
  const meta = page.subarray(PAGE_HEADER);
  const pageBytes = meta.readUInt32LE(AT.freeDb);
  const isPower = pageBytes >= 512 && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0;
  if (meta.readUInt32LE(0) !== MAGIC || !isPower) return undefined;
  return {
    pageBytes,
    roots: [AT.freeDb, AT.mainDb].map((db) => meta.readBigUInt64LE(db + ROOT)),
    lastPage: meta.readBigUInt64LE(AT.lastPage),
    transaction: meta.readBigUInt64LE(AT.transaction),
  };
}

/** Whether all pages that are in use are in the file: it may end before the last that was ever used. */
function isWhole(descriptor: number, size: number, meta: Meta): boolean {
  const { pageBytes, roots, lastPage } = meta;
  const pages = BigInt(Math.floor(size / pageBytes));
  const isLong = pages > lastPage;
  const page = Buffer.alloc(pageBytes);
  const waiting = roots.filter((root) => root !== NO_PAGE);
  const seen = new Set<bigint>();
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
    if (number < 2n || number > lastPage || number >= pages || seen.has(number)) return false;
    seen.add(number);
    const at = Number(number) * pageBytes;
    if (readSync(descriptor, page, 0, pageBytes, at) < pageBytes) return false;
    if (page.readBigUInt64LE(0) !== number) return false;
    // Of a file that is long enough, a look at the roots will do.
    if (isLong) continue;
    const next = pagesFrom(page, pages);
    if (next === undefined) return false;
    for (const one of next) waiting.push(one);
  }
  return true;
}

/** Pages that a page of a tree refers to; `undefined`: it is none, or refers to values behind the end of the file. */
function pagesFrom(page: Buffer, pages: bigint): bigint[] | undefined {
  const flags = page.readUInt16LE(18);
  const lower = page.readUInt16LE(20);
  if ((flags & (BRANCH | LEAF)) === 0) return undefined;
  const found: bigint[] = [];
  for (let index = 0; index < lower >> 1; index++) {
    const pointer = PAGE_HEADER + 2 * index;
    if (pointer + 2 > page.length) return undefined;
    const at = page.readUInt16LE(pointer) + PAGE_HEADER;
    if (at + 8 > page.length) return undefined;
    if ((flags & BRANCH) !== 0) {
      found.push(BigInt(page.readUIntLE(at, 6)));
      continue;
    }
    const kind = page.readUInt16LE(at + 4);
    const data = at + 8 + page.readUInt16LE(at + 6);
    const bytes = page.readUInt32LE(at);
    if ((kind & SUB_DATABASE) !== 0) {
      if (data + ROOT + 8 > page.length) return undefined;
      const root = page.readBigUInt64LE(data + ROOT);
      if (root !== NO_PAGE) found.push(root);
    } else if ((kind & BIG_DATA) !== 0) {
      if (data + 8 > page.length) return undefined;
      const first = page.readBigUInt64LE(data);
      const count = BigInt(Math.ceil((PAGE_HEADER + bytes) / page.length));
      if (first + count > pages) return undefined;
    }
  }
  return found;
}

/** Bytes of the lock file that the library makes. */
const LOCK_BYTES = 8_272;

/**
 * Makes the lock file with all its bytes on the disk, where there is none: the library makes it with a hole, maps it,
 * and a full disk would end the process when the hole is written to.
 * @throws Error where there is no room for it
 */
export function makeLockFile(file: string): void {
  if (existsSync(file)) return;
  const own = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(own, Buffer.alloc(LOCK_BYTES, 1), { mode: 0o600 });
    writeFileSync(own, Buffer.alloc(LOCK_BYTES), { flag: 'r+' });
    // Whole or not at all: another process may be making it, too.
    linkSync(own, file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    rmSync(own, { force: true });
  }
}
