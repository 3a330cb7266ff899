/** Keeps records in a Redis stream, an entry each: `record` is the line. A batch that is sent twice is kept once. */
import { openClient, type Client } from '../../store/redis/client.ts';
import type { TlsFiles } from '../../store/redis/credentials.ts';
import { parseRedisAddress, withoutSecrets } from '../../store/redis/address.ts';
import type { Script } from '../../store/redis/scripts.ts';
import { cutDown } from '../record/cut.ts';
import type { Batch, Destination } from './queue.ts';

export interface RedisSinkOptions {
  /** `redis://…` and its like. */
  readonly url: string;
  /** Where the address names none. */
  readonly password: string | undefined;
  readonly tls: TlsFiles;
  /** The stream. */
  readonly key: string;
  /** Entries that stay, about; 0: all. */
  readonly maxLength: number;
  /** Age of entries that stay, about, ms; 0: all. */
  readonly maxAgeMs: number;
  /** Replicas that must have a batch before it is kept. */
  readonly waitReplicas: number;
  /** How long a batch may take, ms. */
  readonly timeoutMs: number;
  /** Largest record of the sink, `max_record_bytes`. */
  readonly maxRecordBytes?: number;
  /** Names this process and sink among all that write to the stream. */
  readonly writer: string;
  readonly onProblem: (message: string) => void;
}

/** Between two messages that a stream is trimmed, ms. */
const REPORT_MS = 60_000;
/** How long the number of the last batch is kept, ms: longer than any retry. */
const LAST_MS = 24 * 3_600_000;

/**
 * KEYS: stream, number of the writer's last batch. ARGV: number of this one, how long it is kept, entries that stay,
 * age of entries that stay, then the records. A batch that is there already writes its number again, so that a WAIT waits for it. Returns how many entries were removed because there were too many, that
 * is, before their age was over; then also the first that is left, and how far each consumer group has read.
 */
const APPEND: Script = {
  name: 'audit',
  lua: `
local last = redis.call('GET', KEYS[2])
if tonumber(last or 0) >= tonumber(ARGV[1]) then
  redis.pcall('SET', KEYS[2], last, 'PX', ARGV[2])
  return {0}
end
for at = 5, #ARGV do redis.call('XADD', KEYS[1], '*', 'record', ARGV[at]) end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if ARGV[4] ~= '0' then
  local now = redis.call('TIME')
  redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[4]))
end
if ARGV[3] == '0' then return {0} end
local removed = redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
if removed == 0 then return {0} end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local answer = {removed, first and first[1] or ''}
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return answer end
for _, group in ipairs(groups) do
  for at = 1, #group, 2 do if group[at] == 'last-delivered-id' then answer[#answer + 1] = group[at + 1] end end
end
return answer
`,
};

/** @throws Error where the address is none */
export function openRedisSink(options: RedisSinkOptions): Destination {
  const { url, timeoutMs } = options;
  const parsed = parseRedisAddress(url);
  const client = openClient(
    {
      address: { ...parsed, password: parsed.password ?? options.password },
      shown: withoutSecrets(url),
      tls: options.tls,
      connectTimeoutMs: timeoutMs,
      onProblem: options.onProblem,
      onLost: () => {},
    },
    timeoutMs * 2,
  );
  return new RedisStreamSink(client, options);
}

class RedisStreamSink implements Destination {
  readonly #client: Client;
  readonly #options: RedisSinkOptions;
  /** The key of the number of the last batch; in a cluster, on the node of the stream. */
  readonly #lastKey: string;
  /** Bytes of the largest text that this Redis takes, once it has said so. */
  #limit: number | undefined;
  #trimmed = 0;
  #cut = 0;
  /** When a trim was last reported. */
  #reportedAt = -Infinity;

  constructor(client: Client, options: RedisSinkOptions) {
    const { key, writer } = options;
    this.#client = client;
    this.#options = options;
    this.#lastKey = /\{[^}]+\}/.test(key) ? `${key}:last:${writer}` : `{${key}}:last:${writer}`;
    // At the start, so that it is reported before such a record comes; where Redis is away, with the first batch.
    this.#readLimit().then(
      (limit) => (this.#limit ??= limit),
      () => {},
    );
  }

  async keep({ id, lines }: Batch): Promise<void> {
    const { url, key, timeoutMs, maxLength, maxAgeMs, waitReplicas } = this.#options;
    await this.#client.ready(timeoutMs);
    const limit = (this.#limit ??= await this.#readLimit());
    const fitting = lines.map((line) => this.#fitting(line, limit));
    const { answer, replicas } = await this.#client.write(
      timeoutMs,
      {
        script: APPEND,
        keys: [key, this.#lastKey],
        args: [id, LAST_MS, maxLength, maxAgeMs, ...fitting],
      },
      // Its answer must come before the batch's own time is over.
      { count: waitReplicas, ms: Math.ceil(timeoutMs / 2) },
    );
    this.#noteTrimmed(answer);
    if (replicas < waitReplicas)
      throw new Error(
        `audit: ${replicas} replicas of \`${withoutSecrets(url)}\` have the records, ${waitReplicas} must`,
      );
  }

  counts(): { readonly trimmed: number; readonly cut: number } {
    return { trimmed: this.#trimmed, cut: this.#cut };
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  /**
   * The largest text that this Redis takes, where its user may ask; it closes the connection of who sends a larger one.
   * It is read once: a limit that is raised later counts from the next start.
   */
  async #readLimit(): Promise<number> {
    const { url, timeoutMs, maxRecordBytes = 0, onProblem } = this.#options;
    await this.#client.ready(timeoutMs);
    const answer = await this.#client
      .command(timeoutMs, 'CONFIG', 'GET', 'proto-max-bulk-len')
      .catch(() => []);
    const [, text] = Array.isArray(answer) ? answer.map(String) : [];
    const limit = Number(text ?? Infinity);
    if (limit < maxRecordBytes)
      onProblem(
        `\`${withoutSecrets(url)}\` takes texts of ${limit} bytes (proto-max-bulk-len), max_record_bytes is ${maxRecordBytes}: records of more become stubs, lower the one or raise the other`,
      );
    return limit;
  }

  #fitting(line: string, limit: number): string {
    if (line.length * 3 <= limit || Buffer.byteLength(line) <= limit) return line;
    this.#cut++;
    return cutDown(line, limit);
  }

  /** What retention by number has removed is gone before its time; who reads the stream may not have had it. */
  #noteTrimmed(answer: unknown): void {
    const { key, maxLength, maxAgeMs, onProblem } = this.#options;
    // As the script returns it.
    const [removed, first = '', ...groups] = answer as readonly [number, string?, ...string[]];
    this.#trimmed += removed;
    if (removed === 0 || performance.now() - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = performance.now();
    const behind = groups.filter((read) => isBefore(read, first)).length;
    onProblem(
      `the stream \`${key}\` holds max_length (${maxLength}) records: older ones are removed${maxAgeMs > 0 ? ', which max_age_hours would keep' : ''}${behind > 0 ? `, and ${behind} consumer group(s) had not read them` : ''}; the oldest that is left is of ${timeOf(first)}`,
    );
  }
}

/** Of ids of entries, `<ms>-<number>`. */
function isBefore(one: string, other: string): boolean {
  const [ms = 0n, number = 0n] = partsOf(one);
  const [otherMs = 0n, otherNumber = 0n] = partsOf(other);
  return ms < otherMs || (ms === otherMs && number < otherNumber);
}

function partsOf(id: string): readonly bigint[] {
  return id.split('-').map((part) => BigInt(/^\d+$/.test(part) ? part : 0));
}

function timeOf(id: string): string {
  return new Date(Number(partsOf(id)[0] ?? 0n)).toISOString();
}
