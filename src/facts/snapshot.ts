/**
 * The last good facts on disk, so that an instance can start while the store is away (CONS-3). A snapshot is as old
 * as its last confirmation by the store, and serves only as long as any facts of that age would.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  fsync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  write as writeTo,
} from 'node:fs';
import { uptime } from 'node:os';
import { promisify } from 'node:util';
import type {
  KeyRecord,
  PolicySetRecord,
  RoleRecord,
  UserRecord,
  WorkspaceRecord,
} from '../engine/records.ts';
import type { Head } from '../store/store.ts';

/** Facts of one tenant, all as they stood at its head. */
export interface TenantSnapshot {
  readonly tenant: string;
  readonly head: Head;
  /** Since the store confirmed them, ms. */
  readonly ageMs: number;
  readonly roles: Iterable<readonly [string, RoleRecord]>;
  readonly workspaces: Iterable<readonly [string, WorkspaceRecord]>;
  readonly sets: Iterable<readonly [string, PolicySetRecord]>;
  readonly users: Iterable<readonly [string, UserRecord]>;
  readonly keys: Iterable<readonly [string, KeyRecord]>;
}

/** When a snapshot was made, by clocks that outlive the process. */
interface Made {
  readonly wallMs: number;
  /** The machine's monotonic clock, and which start of the machine it counts from. */
  readonly monotonicMs: number;
  readonly boot: string;
}

const VERSION = 1;
/** Text that is made between two turns of the event loop, characters. */
const SLICE = 256 * 1024;
const PARTS = ['roles', 'workspaces', 'sets', 'users', 'keys'] as const;
const writing = promisify(writeTo);
const syncing = promisify(fsync);

/**
 * Writes a snapshot beside the file, then puts it in its place: a crash leaves the one before. What it is given is
 * read over many turns of the event loop, and must not change meanwhile.
 * @param store names the store, so that no other's facts are ever taken for its own
 * @throws Error where it cannot be written
 */
export async function writeSnapshot(
  file: string,
  store: string,
  tenants: readonly TenantSnapshot[],
): Promise<void> {
  const made = now();
  const temporary = `${file}.${process.pid}.tmp`;
  // Made anew: one that is there may be somebody else's, or a link.
  rmSync(temporary, { force: true });
  const descriptor = openSync(temporary, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    for (const slice of slices(linesOf(made, store, tenants))) {
      const bytes = Buffer.from(slice);
      hash.update(bytes);
      for (let at = 0; at < bytes.length;)
        at += (await writing(descriptor, bytes, at, bytes.length - at, null)).bytesWritten;
    }
    await writing(descriptor, `${hash.digest('hex')}\n`);
    await syncing(descriptor);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Reads a snapshot back. `undefined`: there is none.
 * @throws Error where it is broken, another store's, or from the future
 */
export function readSnapshot(file: string, store: string): readonly TenantSnapshot[] | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const end = text.lastIndexOf('\n', text.length - 2) + 1;
  const hash: Hash = createHash('sha256').update(text.slice(0, end));
  if (end === 0 || text.slice(end) !== `${hash.digest('hex')}\n`)
    throw new Error(`snapshot \`${file}\` is broken: it is not used`);
  const [header, ...lines] = text
    .slice(0, end - 1)
    .split('\n')
    .map((line): unknown => JSON.parse(line));
  // The hash says that it is what `linesOf` wrote.
  const { version, store: from, made } = header as Header;
  if (version !== VERSION)
    throw new Error(`snapshot \`${file}\` has version ${version}, not ${VERSION}: it is not used`);
  if (from !== store) throw new Error(`snapshot \`${file}\` is of another store: it is not used`);
  const since = elapsed(made, now());
  const tenants: ReadTenant[] = [];
  for (const line of lines as (TenantLine | RecordLine)[])
    if ('tenant' in line)
      tenants.push({
        ...line,
        ageMs: line.ageMs + since,
        roles: [],
        workspaces: [],
        sets: [],
        users: [],
        keys: [],
      });
    else tenants.at(-1)?.[line[0]].push([line[1], line[2]]);
  return tenants;
}

interface Header {
  readonly version: number;
  readonly store: string;
  readonly made: Made;
}
type TenantLine = Pick<TenantSnapshot, 'tenant' | 'head' | 'ageMs'>;
type ReadTenant = TenantLine & Record<(typeof PARTS)[number], [string, never][]>;
type RecordLine = readonly [part: (typeof PARTS)[number], id: string, record: never];

function* linesOf(
  made: Made,
  store: string,
  tenants: readonly TenantSnapshot[],
): Generator<string> {
  yield JSON.stringify({ version: VERSION, store, made } satisfies Header);
  for (const snapshot of tenants) {
    const { tenant, head, ageMs } = snapshot;
    yield JSON.stringify({ tenant, head, ageMs } satisfies TenantLine);
    for (const part of PARTS)
      for (const [id, record] of snapshot[part]) yield JSON.stringify([part, id, record]);
  }
}

function* slices(lines: Iterable<string>): Generator<string> {
  let slice = '';
  for (const line of lines) {
    slice += `${line}\n`;
    if (slice.length < SLICE) continue;
    yield slice;
    slice = '';
  }
  yield slice;
}

function now(): Made {
  let boot = '';
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // Not Linux: only the wall clock is left.
  }
  return { wallMs: Date.now(), monotonicMs: Number(process.hrtime.bigint() / 1_000_000n), boot };
}

/**
 * How long ago something was made, by the clock that says longest: a wall clock that was set back makes nothing
 * younger, and what was made before the machine started is at least as old as that.
 */
function elapsed(made: Made, at: Made): number {
  const wall = at.wallMs - made.wallMs;
  const sameBoot = made.boot !== '' && made.boot === at.boot;
  const monotonic = sameBoot ? at.monotonicMs - made.monotonicMs : uptime() * 1_000;
  if (sameBoot) return Math.max(monotonic, wall);
  if (wall < 0)
    throw new Error('the snapshot is from the future: the clock was set back; it is not used');
  return Math.max(monotonic, wall);
}
