/**
 * Redis as the store needs it, on ioredis: every call ends by a deadline of its own, nothing is queued while there
 * is no connection, and nothing is sent a second time behind our back.
 */
import { createHash } from 'node:crypto';
import { Cluster, Command, Redis } from 'ioredis';
import { NoRightError, StoreError, UnknownOutcomeError, UnusableStoreError } from '../store.ts';
import type { RedisAddress } from './address.ts';
import type { Script } from './scripts.ts';

export interface ClientOptions {
  readonly address: RedisAddress;
  /** How the address is called in messages, without secrets. */
  readonly shown: string;
  readonly tls: TlsFiles;
  readonly connectTimeoutMs: number;
  /** Told of each problem of a connection; the connection tries again by itself. */
  readonly onProblem: (message: string) => void;
  /** A connection was lost: what was known of its other end may be no longer true. */
  readonly onLost: () => void;
}

/** PEM texts, as far as they are given. */
export interface TlsFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
}

type Argument = string | number;

export interface Client {
  /** Waits until commands can be sent. @throws StoreError where it takes longer */
  ready(ms: number): Promise<void>;
  /** @throws StoreError */
  command(ms: number, name: string, ...args: readonly Argument[]): Promise<unknown>;
  /** Runs a script that only reads. @throws StoreError */
  run(
    ms: number,
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<unknown>;
  /**
   * Runs a script that writes, then waits for replicas to have it.
   * @throws UnknownOutcomeError where it may have run or may still run
   */
  write(
    ms: number,
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    replicas: { readonly count: number; readonly ms: number },
  ): Promise<{ readonly answer: unknown; readonly replicas: number }>;
  /** One command on each primary; the answers of those that answer. @throws StoreError where none does */
  onPrimaries(ms: number, name: string, ...args: readonly Argument[]): Promise<readonly unknown[]>;
  /** Listens to a channel as long as the client lives; `onMessage(undefined)`: messages may have been missed. */
  subscribe(channel: string, onMessage: (message: string | undefined) => void): void;
  close(): void;
}

/** A right is missing, for a command or for one inside a script. */
const NO_RIGHT = /^NOPERM|executing the script can't/;
/** A slot is on its way to another node: nothing was done, and the same again will be. */
const MOVING = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /;
/** What no waiting mends. */
const NEVER_BETTER =
  /^(NOAUTH|WRONGPASS|NOPERM)|executing the script can't|^ERR (AUTH|invalid password|This instance has cluster support disabled)/;

/** Between two attempts to listen, ms; heartbeats do without. */
const RESUBSCRIBE_MS = 1_000;
/** Between two attempts to listen to a sentinel, ms. */
const SENTINEL_RETRY_MS = 1_000;
const SILENT = 'it does not answer';
/** The user may not run scripts that only read, or the server has none. */
const NO_READING_SCRIPTS = /^NOPERM .*'eval(sha)?_ro'|^ERR unknown command/i;
/** Between two attempts to connect, ms: short, so that facts are fresh soon after a Redis is back. */
const RETRY_MS = [50, 100, 200, 500];

/** @param silenceMs a connection whose peer owes an answer for so long is dropped and made again */
export function openClient(options: ClientOptions, silenceMs: number): Client {
  const redis = connect(options, silenceMs);
  // A cluster moves its slots; to anybody else the answer says that this is one.
  const isHopeless = (message: string): boolean =>
    NEVER_BETTER.test(message) ||
    (options.address.kind !== 'cluster' && message.startsWith('MOVED '));
  let last = SILENT;
  let closed = false;
  /** Scripts that read are run by the commands that cannot write, unless the user may not. */
  let readsOnly = true;
  /** Those who wait for a connection, together. */
  let becoming:
    { readonly ready: Promise<void>; readonly fail: (error: Error) => void } | undefined;
  const problem = (error: Error): void => {
    const told = explain(error.message);
    // A cluster sums its nodes' problems up in one that tells nothing.
    if (!isHopeless(last)) last = told;
    options.onProblem(told);
    if (isHopeless(last)) becoming?.fail(new UnusableStoreError(`\`${options.shown}\`: ${last}`));
  };
  redis.on('error', problem);
  for (const event of ['close', '-node', '+node', 'end']) redis.on(event, options.onLost);
  if (redis instanceof Cluster) redis.on('node error', problem);
  redis.on('ready', () => {
    last = SILENT;
  });
  const becomingReady = (): Promise<void> => {
    if (becoming === undefined) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      becoming = { ready: promise, fail: reject };
      redis.once('ready', resolve);
      const over = (): void => {
        becoming = undefined;
        redis.off('ready', resolve);
      };
      promise.then(over, over);
    }
    return becoming.ready;
  };

  const within = async <T>(ms: number, sent: () => Promise<T>): Promise<T> => {
    if (closed) throw new StoreError(`the store \`${options.shown}\` is closed`);
    let timer: NodeJS.Timeout | undefined;
    try {
      return await Promise.race([
        sent(),
        new Promise<never>((_, failed) => {
          timer = setTimeout(() => failed(new TimeoutError(ms)), ms);
        }),
      ]);
    } finally {
      clearTimeout(timer);
    }
  };
  /** Without the library's error as cause: it carries the command, and with it facts or a password. */
  const failure = (error: unknown): StoreError => {
    if (error instanceof StoreError) return error;
    const told = `\`${options.shown}\`: ${explain(messageOf(error))}`;
    if (NO_RIGHT.test(messageOf(error))) return new NoRightError(told);
    return isHopeless(messageOf(error)) ? new UnusableStoreError(told) : new StoreError(told);
  };
  const reading = <T>(ms: number, sent: () => Promise<T>): Promise<T> =>
    within(ms, sent).catch((error: unknown) => Promise.reject(failure(error)));

  return {
    async ready(ms): Promise<void> {
      if (closed) throw new StoreError(`the store \`${options.shown}\` is closed`);
      if (redis.status === 'ready') return;
      if (redis.status === 'wait' || redis.status === 'end')
        redis.connect().catch(() => {
          // Told by `error`, and tried again.
        });
      try {
        await within(ms, becomingReady);
      } catch (error) {
        if (error instanceof StoreError) throw error;
        throw new StoreError(`\`${options.shown}\` cannot be reached within ${ms} ms: ${last}`);
      }
    },

    command: (ms, name, ...args) =>
      reading(
        ms,
        () =>
          redis.sendCommand(
            new Command(name, [...args], { replyEncoding: 'utf8' }),
          ) as Promise<unknown>,
      ),

    run: (ms, script, keys, args) =>
      reading(ms, async () => {
        const call = (command: string, text: string): Promise<unknown> =>
          redis.sendCommand(scriptCommand(command, text, keys, args)) as Promise<unknown>;
        // A script that only reads needs no right to write, and goes on while writes are paused.
        if (readsOnly)
          try {
            return await call('evalsha_ro', shaOf(script));
          } catch (error) {
            if (isMissing(error)) return call('eval_ro', script.lua);
            if (!NO_READING_SCRIPTS.test(messageOf(error))) throw error;
            // A user that was given the rights of an earlier version.
            readsOnly = false;
          }
        try {
          return await call('evalsha', shaOf(script));
        } catch (error) {
          if (!isMissing(error)) throw error;
          return call('eval', script.lua);
        }
      }),

    async write(ms, script, keys, args, replicas) {
      const attempt = async (
        command: 'eval' | 'evalsha',
      ): Promise<{ readonly answer: unknown; readonly replicas: number }> => {
        const pipeline = redis.pipeline();
        const text = command === 'eval' ? script.lua : shaOf(script);
        (pipeline as unknown as Pipelined).sendCommand(scriptCommand(command, text, keys, args));
        if (replicas.count > 0) pipeline.call('wait', replicas.count, replicas.ms);
        const [ran, waited] = (await pipeline.exec()) ?? [];
        if (ran?.[0] instanceof Error) throw ran[0];
        if (waited?.[0] instanceof Error)
          throw new UnknownOutcomeError(
            `the commit is done, and cannot wait for replicas: ${explain(waited[0].message)}`,
            'done',
          );
        return { answer: ran?.[1], replicas: Number(waited?.[1] ?? 0) };
      };
      try {
        return await within(ms, async () => {
          try {
            return await attempt('evalsha');
          } catch (error) {
            if (!isMissing(error)) throw error;
            return attempt('eval');
          }
        });
      } catch (error) {
        const known = failure(error);
        if (redis instanceof Cluster && MOVING.test(messageOf(error))) {
          redis.refreshSlotsCache();
          throw new UnknownOutcomeError(known.message);
        }
        if (error instanceof StoreError || isRefusal(error)) throw known;
        // A script that has ended has ended: sending it again would change nothing for the better.
        const ended = messageOf(error).includes('user_script');
        throw new UnknownOutcomeError(known.message, ended ? 'ended' : 'lost');
      }
    },

    async onPrimaries(ms, name, ...args): Promise<readonly unknown[]> {
      const nodes = redis instanceof Cluster ? redis.nodes('master') : [redis];
      const asked = await Promise.allSettled(
        nodes.map((node) => reading(ms, () => node.call(name, ...args))),
      );
      const answers = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      const failed = asked.find(({ status }) => status === 'rejected');
      if (answers.length === 0)
        throw failure(failed?.status === 'rejected' ? failed.reason : new Error(SILENT));
      return answers;
    },

    subscribe(channel, onMessage): void {
      redis.on('message', (from: string, message: string) => {
        if (from === channel) onMessage(message);
      });
      // Not left to the library: what was said before it subscribed again must be looked for.
      const listen = (): void => {
        redis.subscribe(channel).then(
          () => onMessage(undefined),
          (error: unknown) => {
            options.onProblem(explain(messageOf(error)));
            if (!closed) setTimeout(listen, RESUBSCRIBE_MS).unref();
          },
        );
      };
      redis.on('ready', listen);
      if (redis.status === 'ready') listen();
    },

    close(): void {
      closed = true;
      redis.disconnect(false);
    },
  };
}

/** As one list: a call has more keys and arguments than a function may have. */
function scriptCommand(
  command: string,
  text: string,
  keys: readonly string[],
  args: readonly Argument[],
): Command {
  const all: Argument[] = [text, keys.length];
  return new Command(command, all.concat(keys, args), { replyEncoding: 'utf8' });
}

/** What a pipeline has, and its type leaves out. */
interface Pipelined {
  sendCommand(command: Command): unknown;
}

/** The deadline of a call has passed. */
class TimeoutError extends Error {
  constructor(ms: number) {
    super(`has not answered within ${ms} ms`);
  }
}

function connect(options: ClientOptions, silenceMs: number): Redis | Cluster {
  const { address, connectTimeoutMs } = options;
  const retry = (times: number): number => RETRY_MS[Math.min(times, RETRY_MS.length) - 1] ?? 500;
  const tls = address.tls
    ? {
        tls: {
          ...(options.tls.ca === undefined ? {} : { ca: options.tls.ca }),
          ...(options.tls.cert === undefined ? {} : { cert: options.tls.cert }),
          ...(options.tls.key === undefined ? {} : { key: options.tls.key }),
          ...(options.tls.serverName === undefined ? {} : { servername: options.tls.serverName }),
        },
      }
    : {};
  const common = {
    ...tls,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    protocol: 2 as const,
    connectTimeout: connectTimeoutMs,
    socketTimeout: silenceMs,
    keepAlive: 10_000,
    // A call that cannot be sent now has failed now; one that was lost on the way is not sent again.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    disableClientInfo: true,
    lazyConnect: true,
    // A primary that has become a replica must be left.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  };
  if (address.kind === 'cluster') {
    return new Cluster([...address.hosts], {
      redisOptions: common,
      enableOfflineQueue: false,
      lazyConnect: true,
      maxRedirections: 4,
      // Else the library would send a commit again by itself, and tell of the second try alone.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 50,
      retryDelayOnTryAgain: 50,
      slotsRefreshTimeout: connectTimeoutMs,
      slotsRefreshInterval: 5_000,
      clusterRetryStrategy: retry,
      scaleReads: 'master',
    });
  }
  const single = {
    ...common,
    db: address.db,
    enableOfflineQueue: false,
    retryStrategy: retry,
  };
  const [first] = address.hosts;
  if (address.kind === 'single')
    return new Redis({ ...single, host: first?.host ?? '127.0.0.1', port: first?.port ?? 6_379 });
  return new Redis({
    ...single,
    sentinels: [...address.hosts],
    name: address.primary,
    role: 'master',
    sentinelRetryStrategy: retry,
    sentinelCommandTimeout: connectTimeoutMs,
    // Told by the sentinels: the old primary goes on to call itself one for seconds.
    failoverDetector: true,
    sentinelReconnectStrategy: () => SENTINEL_RETRY_MS,
    enableTLSForSentinelMode: address.tls,
    ...('tls' in tls ? { sentinelTLS: tls.tls } : {}),
    ...(address.sentinelPassword === undefined
      ? {}
      : { sentinelPassword: address.sentinelPassword }),
  });
}

const shas = new Map<Script, string>();

function shaOf(script: Script): string {
  const known = shas.get(script);
  if (known !== undefined) return known;
  const sha = createHash('sha1').update(script.lua).digest('hex');
  shas.set(script, sha);
  return sha;
}

function isMissing(error: unknown): boolean {
  return messageOf(error).startsWith('NOSCRIPT');
}

/** Redis has said no before the script's first write, or nothing was sent: nothing was done, and nothing will be. */
function isRefusal(error: unknown): boolean {
  const message = messageOf(error);
  if (message.includes('enableOfflineQueue')) return true;
  // What a script meets on its way may have come after a write.
  if (message.includes('user_script'))
    return /(^|-)(OOM|READONLY|MISCONF|NOREPLICAS) /.test(message);
  return /^[A-Z]{3,} /.test(message);
}

/** What Redis or the library says, with the remedy where there is one. */
function explain(message: string): string {
  const known = REMEDIES.find(([pattern]) => pattern.test(message));
  return known === undefined ? message : `${message}: ${known[1]}`;
}

const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/^NOAUTH|^WRONGPASS|^ERR AUTH|^ERR invalid password/, 'check user and password of `store`'],
  [NO_RIGHT, 'give the user the rights listed in docs/redis.md, Rights'],
  [/^OOM/, 'Redis is full, and must not evict: raise its maxmemory'],
  [/^READONLY/, 'this is a replica: name the primary, or use redis-sentinel://'],
  [/^NOREPLICAS/, 'too few replicas follow the primary (min-replicas-to-write)'],
  [/^LOADING/, 'Redis is reading its file, and will answer soon'],
  [/^BUSY/, 'a script of somebody else runs for too long'],
  [/^MISCONF/, 'Redis cannot write its file: free its disk'],
  [/^CLUSTERDOWN/, 'a slot of the cluster has no primary'],
  [/^ERR This instance has cluster support disabled/, 'use redis:// instead of redis-cluster://'],
  [/^MOVED/, 'this is a node of a cluster: use redis-cluster://'],
  [/enableOfflineQueue/, 'there is no connection at the moment'],
];

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
