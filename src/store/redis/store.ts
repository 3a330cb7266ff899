/**
 * The store on Redis: one node, Sentinel or Cluster. Many instances share it; a commit is one script on the keys of
 * one tenant, and tells the others by a hint that nobody depends on.
 */
import { randomBytes } from 'node:crypto';
import type { Kind } from '../../engine/records.ts';
import { parseRedisAddress, withoutSecrets } from './address.ts';
import { openClient, type Client, type TlsFiles } from './client.ts';
import { keysOf, KINDS, LAYOUT, type Keys } from './keys.ts';
import { inChunks } from './chunks.ts';
import { openStager } from './staged.ts';
import { changeText, parseEntry, readRecord, type StreamEntry } from './stored.ts';
import { COMMIT, FEED, FLIP, GET, SCAN } from './scripts.ts';
import { surely, within } from './surely.ts';
import { mapInTurns } from '../../util/turns.ts';
import { leastReaderOf, READER_VERSION } from '../format/version.ts';
import {
  MAX_NAMED,
  NoRightError,
  readable,
  readablePage,
  StoreError,
  TenantError,
  UnknownOutcomeError,
  Unreadable,
  UnusableStoreError,
  VersionError,
  type Change,
  type Commit,
  type CommitResult,
  type Feed,
  type FactKey,
  type Head,
  type OnChange,
  type Page,
  type Snapshot,
  type Store,
} from '../store.ts';

export interface RedisOptions {
  /** `redis://…` and its like: see `redis/address.ts`. */
  readonly address: string;
  /** Instead of the address's, so that it need not stand in a settings file. */
  readonly password?: string;
  /** Before all names, so that others may use the same Redis. */
  readonly keyPrefix: string;
  /** Hash slots that tenants spread over; fixed when the store is created. */
  readonly shards: number;
  readonly tls: TlsFiles;
  readonly connectTimeoutMs: number;
  /** How long a read may take. */
  readonly readTimeoutMs: number;
  /** How long a commit may take, waiting for replicas included. */
  readonly commitTimeoutMs: number;
  /** Replicas that must have a commit before it is acknowledged, and how long to wait for them. */
  readonly waitReplicas: number;
  readonly waitMs: number;
  /** Commits of a tenant that its feed keeps. */
  readonly feedLength: number;
  /** Told of each problem of a connection. */
  readonly onProblem: (message: string) => void;
}

/** As `RedisOptions` has it where nothing else is said. */
export const REDIS_DEFAULTS = {
  keyPrefix: 'postern',
  shards: 16,
  tls: {},
  connectTimeoutMs: 2_000,
  readTimeoutMs: 1_000,
  commitTimeoutMs: 5_000,
  waitReplicas: 0,
  waitMs: 1_000,
  feedLength: 10_000,
} as const;

/** Redis must keep what it was given: with any other policy it drops keys when it is full. */
const KEEPS_ALL = 'noeviction';
/** All of them are in memory here, and Redis needs room for the kinds that they change a second time. */
const MAX_CHANGES = 500_000;
/** Time that a change of a commit adds to the time that the commit may take, ms: its way, and its writing. */
const CHANGE_MS = 0.05;
/** Records, or heads, that one command reads: it holds up everybody else meanwhile. */
const CHUNK = 1_000;
/** Bytes of a page's records after which it ends. */
const MAX_PAGE_CHARS = 1_000_000;
/** Users and keys that a hint names: it goes to all instances, and to all nodes of a cluster. */
const MAX_HINTED = 8;
/** Between two looks at a Redis that was not usable, ms. */
const RECHECK_MS = 200;

/**
 * Opens the store; where Redis is away it opens all the same, and answers with errors until Redis is there.
 * @throws Error where the address or an option is wrong
 */
export function openRedisStore(options: RedisOptions): Store {
  const parsed = parseRedisAddress(options.address);
  const { password = parsed.password } = options;
  const address = { ...parsed, password };
  const shown = withoutSecrets(options.address);
  if (/[{}\s]/.test(options.keyPrefix) || options.keyPrefix === '')
    throw new Error(
      `redis.key_prefix: \`${options.keyPrefix}\` is empty or holds a brace or a space: choose a word`,
    );
  const { connectTimeoutMs, onProblem } = options;
  const onLost = (): void => {
    usable = undefined;
  };
  const client = (silenceMs: number): Client =>
    openClient(
      { address, shown, tls: options.tls, connectTimeoutMs, onProblem, onLost },
      silenceMs,
    );
  const reader = client(options.readTimeoutMs);
  const read = options.readTimeoutMs;
  const keys = keysOf(options.keyPrefix, options.shards);
  const stager = openStager(keys, options.commitTimeoutMs);
  const listeners = new Set<OnChange>();
  const notify: OnChange = (...changed) => {
    for (const listener of listeners) listener(...changed);
  };
  // Connections of their own: a commit that waits for replicas holds up no read, and a subscriber may do nothing else.
  let writer: Client | undefined;
  let subscriber: Client | undefined;
  let closed = false;

  /** Nothing is asked before what the connections lead to is known to be ours, and to be safe. */
  let usable: Promise<void> | undefined;
  let wasUsable = false;
  const check = async (): Promise<void> => {
    try {
      await verify(reader, keys, options, shown);
      wasUsable = true;
    } catch (error) {
      // What was ours and cannot be asked now may be a cluster of which a node is away: the others go on.
      if (error instanceof UnusableStoreError || !wasUsable) throw error;
      recheck();
    }
  };
  const recheck = (): void => {
    const current = usable;
    setTimeout(() => {
      if (usable === current) usable = undefined;
    }, RECHECK_MS).unref();
  };
  const beUsable = (): Promise<void> => {
    if (usable !== undefined) return usable;
    const current = check();
    usable = current;
    current.catch(recheck);
    return current;
  };
  const ready = async (): Promise<void> => {
    if (closed) throw new StoreError(`the store \`${shown}\` is closed`);
    await beUsable();
  };

  const commit = async (asked: Commit): Promise<CommitResult> => {
    await ready();
    writer ??= client(options.commitTimeoutMs);
    const { tenant } = asked;
    const nonce = randomBytes(9).toString('base64url');
    const at = [keys.head(tenant), keys.feed(tenant), keys.tenants(keys.shardOf(tenant))];
    const kinds = KINDS.flatMap((kind) => [keys.records(tenant, kind), keys.index(tenant, kind)]);
    const named = namedIn(asked);
    if (asked.changes.length > MAX_CHANGES)
      throw new StoreError(
        `the commit has ${asked.changes.length} changes, Redis takes ${MAX_CHANGES} at once: split it`,
      );
    const connected = writer;
    const stage = await stager.prepare(connected, asked, nonce);
    if (stage !== undefined && 'moved' in stage)
      return { committed: false, head: parseHead(stage.moved === '' ? null : stage.moved) };
    const args = [
      ...commitArguments(asked, nonce, options, keys.channel, named, stage?.nonce),
      ...(stage?.args ?? []),
      ...changeArguments(stage?.rest ?? asked.changes),
    ];
    const left = within(options.commitTimeoutMs + asked.changes.length * CHANGE_MS);
    const replicas = { count: options.waitReplicas, ms: options.waitMs };
    const script = stage === undefined ? COMMIT : FLIP;
    const places = [...at, ...kinds, ...(stage?.keys ?? [])];
    const sent = await stager.end(connected, asked, stage, () =>
      surely(connected, left, (one) => one.write(left(), script, places, args, replicas)),
    );
    const [committed, revision, name] = sent.answer as [0 | 1 | 2 | 3, string, string];
    if (committed === 3) throw new VersionError(`\`${tenant}\` in the store`, Number(revision));
    // Before it was ever sent, nobody can have been it.
    if (committed === 2 && sent.again)
      throw new UnknownOutcomeError(
        `others have committed to \`${tenant}\` so often that its feed no longer tells what became of this`,
      );
    const head: Head = { revision: Number(revision), nonce: name };
    if (committed !== 1) return { committed: false, head: head.revision === 0 ? undefined : head };
    notify(tenant, named);
    if (sent.replicas < options.waitReplicas)
      throw new UnknownOutcomeError(
        `revision ${head.revision} of \`${tenant}\` is committed, but ${sent.replicas} of ${options.waitReplicas} replicas have it after ${options.waitMs} ms, and a fail-over could lose it`,
        'done',
      );
    return { committed: true, head };
  };

  const run = async (
    script: typeof GET,
    at: readonly string[],
    args: readonly (string | number)[],
  ) => {
    await ready();
    // A script's reply is a list of texts, a missing value is null.
    return (await reader.run(read, script, at, args)) as (string | null)[];
  };

  return {
    async get(tenant, wanted): Promise<Snapshot> {
      const some = async (part: readonly FactKey[]): Promise<readonly (string | null)[]> => {
        const at = [keys.head(tenant)];
        for (const { kind } of part) at.push(keys.records(tenant, kind));
        return run(
          GET,
          at,
          part.map(({ id }) => id),
        );
      };
      const { head, values } = await inChunks(tenant, wanted, some);
      const read = (key: FactKey, index: number) =>
        [key.id, readRecord(key, values[index])] as const;
      return readable(parseHead(head), await mapInTurns(wanted, read));
    },

    async scan(tenant, kind, after, limit): Promise<Page> {
      const at = [keys.head(tenant), keys.records(tenant, kind), keys.index(tenant, kind)];
      const from = after === undefined ? '-' : `(${after}`;
      const [head, more, ...found] = await run(SCAN, at, [from, limit, MAX_PAGE_CHARS]);
      const ids = found.filter((_, index) => index % 2 === 0);
      const entries = await mapInTurns(ids, (id, index) => {
        const key = { kind, id: id ?? '' };
        // The index and the records are written by one script: an id without a record is none of ours.
        const none = new Unreadable(key, 'it has no record');
        return [key.id, readRecord(key, found[2 * index + 1]) ?? none] as const;
      });
      return readablePage(parseHead(head), entries, more === '1' ? entries.at(-1)?.[0] : undefined);
    },

    commit,

    async heads(tenants): Promise<readonly (Head | undefined | 'unknown')[]> {
      await ready();
      // Asked each time, even where there is no tenant: whether Redis is there, still the primary, and still ours.
      const roles = reader.onPrimaries(read, 'ROLE');
      const layout = reader.command(read, 'GET', keys.layout);
      const shards = Map.groupBy(tenants, (tenant) => keys.shardOf(tenant));
      const found = new Map<string, Head | undefined>();
      const asIs = new Set<string>();
      const asked = [...shards.values()].map(async (here) => {
        const heads: (string | null)[] = [];
        for (let from = 0; from < here.length; from += CHUNK) {
          const part = here.slice(from, from + CHUNK).map((one) => keys.head(one));
          for (const head of (await reader.command(read, 'MGET', ...part)) as (string | null)[])
            heads.push(head);
        }
        for (const [index, head] of heads.entries())
          try {
            found.set(here[index] ?? '', parseHead(head));
          } catch {
            // One tenant's head that cannot be read is not known; the others are.
            asIs.add(here[index] ?? '');
          }
      });
      const [is, has, ...answers] = await Promise.allSettled([roles, layout, ...asked]);
      if (is.status === 'rejected') throw is.reason;
      const replaced = has.status === 'fulfilled' && has.value !== layoutOf(options.shards);
      if (replaced || !is.value.every(isPrimary)) {
        // What was read meanwhile may be of the place that it was before.
        usable = undefined;
        await ready();
        throw new StoreError(`\`${shown}\` was another one a moment ago: ask again`);
      }
      // Of a cluster one node may be away: its tenants alone are not known.
      const failed = answers.find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected' && found.size + asIs.size === 0) throw failed.reason;
      return tenants.map((tenant) => (found.has(tenant) ? found.get(tenant) : 'unknown'));
    },

    async feed(tenant, after, limit): Promise<Feed> {
      const at = [keys.head(tenant), keys.feed(tenant)];
      const count = Math.min(limit, options.feedLength + 1);
      const from = Math.min(after + 1, Number.MAX_SAFE_INTEGER);
      await ready();
      const [head, entries] = (await reader.run(read, FEED, at, [from, count])) as [
        string | null,
        StreamEntry[],
      ];
      const parsed = entries.map(parseEntry);
      return { head: parseHead(head), entries: parsed[0]?.revision === after + 1 ? parsed : [] };
    },

    async tenants(): Promise<readonly string[]> {
      await ready();
      const shards = Array.from({ length: options.shards }, (_, shard) => keys.tenants(shard));
      const found = await Promise.all(shards.map((key) => reader.command(read, 'SMEMBERS', key)));
      return (found as string[][]).flat().toSorted();
    },

    async settle(tenant): Promise<void> {
      if (options.waitReplicas === 0) return;
      await ready();
      writer ??= client(options.commitTimeoutMs);
      await writer.ready(options.commitTimeoutMs);
      const { replicas } = await writer.write(
        options.commitTimeoutMs,
        GET,
        [keys.head(tenant)],
        [],
        { count: options.waitReplicas, ms: options.waitMs },
      );
      if (replicas < options.waitReplicas)
        throw new UnknownOutcomeError(
          `\`${tenant}\` is committed, but ${replicas} of ${options.waitReplicas} replicas have it after ${options.waitMs} ms, and a fail-over could lose it`,
          'done',
        );
    },

    watch(onChange): () => void {
      listeners.add(onChange);
      if (subscriber === undefined && !closed) {
        subscriber = client(read);
        subscriber.subscribe(keys.channel, (hint) => notify(...parseHint(hint)));
        subscriber.ready(connectTimeoutMs).catch(() => {
          // Told by `onProblem`; until it is there, readers look at every heartbeat.
        });
      }
      return () => void listeners.delete(onChange);
    },

    close(): Promise<void> {
      closed = true;
      listeners.clear();
      for (const one of [reader, writer, subscriber]) one?.close();
      return Promise.resolve();
    },
  };
}

/** Refuses a Redis that is not ours, or would lose what it is given. Creates the layout where there is none. */
async function verify(
  reader: Client,
  keys: Keys,
  { shards, readTimeoutMs, connectTimeoutMs, keyPrefix }: RedisOptions,
  shown: string,
): Promise<void> {
  await reader.ready(connectTimeoutMs);
  const policies = await reader.onPrimaries(readTimeoutMs, 'INFO', 'memory');
  for (const text of policies) {
    const policy = /maxmemory_policy:(\S+)/.exec(String(text))?.[1] ?? KEEPS_ALL;
    if (policy !== KEEPS_ALL)
      throw new UnusableStoreError(
        `\`${shown}\` has maxmemory-policy ${policy}: it would drop facts when it is full; set maxmemory-policy ${KEEPS_ALL}`,
      );
  }
  for (const role of await reader.onPrimaries(readTimeoutMs, 'ROLE'))
    if (!isPrimary(role))
      throw new UnusableStoreError(
        `\`${shown}\` is a replica: name the primary, or use redis-sentinel:// to follow it`,
      );
  // Else the first question of each kind would take a round trip more.
  for (const { lua } of [GET, SCAN, FEED, COMMIT])
    await reader.onPrimaries(readTimeoutMs, 'SCRIPT', 'LOAD', lua).catch((error: unknown) => {
      // Who may not keep scripts there sends them when they are missing.
      if (!(error instanceof NoRightError)) throw error;
    });
  const ours = layoutOf(shards);
  const known = await reader.command(readTimeoutMs, 'GET', keys.layout);
  const created =
    known === null &&
    (await reader
      .command(readTimeoutMs, 'SET', keys.layout, ours, 'NX')
      .catch(explainNoStore(shown, keyPrefix))) === 'OK';
  const layout =
    known ?? (created ? ours : await reader.command(readTimeoutMs, 'GET', keys.layout));
  if (layout === ours) return;
  const [version, count] = typeof layout === 'string' ? layout.split(' ') : [];
  throw new UnusableStoreError(
    version === String(LAYOUT)
      ? `\`${shown}\` has ${count} shards under \`${keyPrefix}\`, redis.shards says ${shards}: the count is fixed when a store is created; set redis.shards to ${count}`
      : `\`${shown}\` has layout ${version} under \`${keyPrefix}\`, this version reads layout ${LAYOUT}: export with the version that wrote it, then apply under another redis.key_prefix`,
  );
}

/** An instance that may only read waits until one that may write has been there (CONS-7). */
function explainNoStore(shown: string, keyPrefix: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof NoRightError)) throw error;
    throw new StoreError(
      `\`${shown}\` holds nothing under \`${keyPrefix}\` yet, and this user may not write: start an instance that may, or set redis.key_prefix`,
    );
  };
}

function layoutOf(shards: number): string {
  return `${LAYOUT} ${shards}`;
}

/** @param role the reply to `ROLE` */
function isPrimary(role: unknown): boolean {
  return Array.isArray(role) && role[0] === 'master';
}

/** Those before the changes, in the order of `COMMIT`. */
function commitArguments(
  { tenant, expected, nonce: before, changes, event }: Commit,
  nonce: string,
  { feedLength }: RedisOptions,
  channel: string,
  named: readonly FactKey[],
  stagedOn: string | undefined,
): (string | number)[] {
  const entry = JSON.stringify({
    keys:
      changes.length > MAX_NAMED ? null : changes.map(({ kind, id }) => [KINDS.indexOf(kind), id]),
    event,
    time: Date.now(),
  });
  return [
    expected,
    nonce,
    tenant,
    feedLength,
    channel,
    entry,
    stagedOn ?? before ?? '',
    hintOf(tenant, named),
    leastReaderOf(changes),
    READER_VERSION,
  ];
}

function changeArguments(changes: readonly Change[]): (string | number)[] {
  const args: (string | number)[] = [];
  for (const change of changes)
    args.push(KINDS.indexOf(change.kind) + 1, change.id, changeText(change));
  return args;
}

/** What others keep of what a commit changes, if it is little: they read it again before they are asked. */
function namedIn({ changes }: Commit): readonly FactKey[] {
  const kept = changes.filter(({ kind }) => kind === 'user' || kind === 'key');
  return kept.length > MAX_HINTED ? [] : kept.map(({ kind, id }) => ({ kind, id }));
}

function hintOf(tenant: string, named: readonly FactKey[]): string {
  const numbered = named.map(({ kind, id }) => [KINDS.indexOf(kind), id] as const);
  return JSON.stringify([tenant, ...numbered] satisfies Hint);
}

/** A message of the channel: the tenant, and what was changed, each by the number of its kind. */
type Hint = readonly [tenant: string, ...changed: (readonly [kind: number, id: string])[]];

/** Whoever may publish may say anything: what is not a hint is taken for a tenant's name, as it once was one. */
function parseHint(text: string | undefined): Parameters<OnChange> {
  if (text === undefined) return [undefined];
  try {
    const parsed: unknown = JSON.parse(text);
    const [tenant, ...changed] = Array.isArray(parsed) ? (parsed as unknown[]) : [];
    if (typeof tenant === 'string' && changed.length <= MAX_HINTED && changed.every(isNamed))
      return [tenant, changed.map(([kind, id]) => ({ kind: kindAt(kind), id }))];
  } catch {
    // No JSON.
  }
  return [text];
}

function isNamed(named: unknown): named is Hint[1] {
  const [kind, id] = Array.isArray(named) ? (named as unknown[]) : [];
  return typeof kind === 'number' && kind in KINDS && typeof id === 'string';
}

function parseHead(text: string | null | undefined): Head | undefined {
  if (typeof text !== 'string') return undefined;
  const [, number, nonce] = /^([1-9]\d*) (\S+)$/.exec(text) ?? [];
  const revision = Number(number);
  if (nonce === undefined || !Number.isSafeInteger(revision))
    throw new TenantError(`a head in Redis is not one of ours: \`${text.slice(0, 80)}\``);
  return { revision, nonce };
}

function kindAt(index: number): Kind {
  const kind = KINDS[index];
  if (kind === undefined) throw new Error(`no kind has the number ${index}`);
  return kind;
}
