/** Keeps records in a Redis stream, an entry each: `record` is the line. A batch that is sent twice is kept once. */
import { openClient } from '../../store/redis/client.ts';
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
const TELL_MS = 60_000;
/** How long the number of the last batch is kept, ms: longer than any retry. */
const LAST_MS = 24 * 3_600_000;

/**
 * KEYS: stream, number of the writer's last batch. ARGV: number of this one, how long it is kept, entries that stay,
 * age of entries that stay, then the records. Returns how many entries were removed because there were too many, that
 * is, before their age was over; then also the first that is left, and how far each consumer group has read.
 */
const APPEND: Script = {
  name: 'audit',
  lua: `
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[1]) then return {0} end
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
  const { url, key, timeoutMs, maxLength, maxAgeMs, waitReplicas } = options;
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
  // In a cluster, on the node of the stream.
  const last = /\{[^}]+\}/.test(key)
    ? `${key}:last:${options.writer}`
    : `{${key}}:last:${options.writer}`;
  let trimmed = 0;
  let cut = 0;

  /**
   * The largest text that this Redis takes, where its user may ask; it closes the connection of who sends a larger one.
   * Asked for once: raised later it is known at the next start.
   */
  const readLimit = async (): Promise<number> => {
    await client.ready(timeoutMs);
    const answer = await client
      .command(timeoutMs, 'CONFIG', 'GET', 'proto-max-bulk-len')
      .catch(() => []);
    const [, text] = Array.isArray(answer) ? answer.map(String) : [];
    const limit = Number(text ?? Infinity);
    if (limit < (options.maxRecordBytes ?? 0))
      options.onProblem(
        `\`${withoutSecrets(url)}\` takes texts of ${limit} bytes (proto-max-bulk-len), max_record_bytes is ${options.maxRecordBytes ?? 0}: records of more become stubs, lower the one or raise the other`,
      );
    return limit;
  };
  let limit: number | undefined;
  // At the start, so that it is told before such a record comes; where Redis is away, with the first batch.
  readLimit().then(
    (known) => (limit ??= known),
    () => {},
  );
  const fitting = (line: string, most: number): string => {
    if (line.length * 3 <= most || Buffer.byteLength(line) <= most) return line;
    cut++;
    return cutDown(line, most);
  };
  let toldAt = -Infinity;

  /** What retention by number has removed is gone before its time; who reads the stream may not have had it. */
  const tellTrimmed = (answer: unknown): void => {
    // As the script returns it.
    const [removed, first = '', ...groups] = answer as readonly [number, string?, ...string[]];
    trimmed += removed;
    if (removed === 0 || performance.now() - toldAt < TELL_MS) return;
    toldAt = performance.now();
    const behind = groups.filter((read) => isBefore(read, first)).length;
    options.onProblem(
      `the stream \`${key}\` holds max_length (${maxLength}) records: older ones are removed${maxAgeMs > 0 ? ', which max_age_hours would keep' : ''}${behind > 0 ? `, and ${behind} consumer group(s) had not read them` : ''}; the oldest that is left is of ${timeOf(first)}`,
    );
  };

  return {
    async keep({ id, lines }: Batch): Promise<void> {
      await client.ready(timeoutMs);
      const most = (limit ??= await readLimit());
      const { answer, replicas } = await client.write(
        timeoutMs,
        {
          script: APPEND,
          keys: [key, last],
          args: [id, LAST_MS, maxLength, maxAgeMs, ...lines.map((line) => fitting(line, most))],
        },
        // Its answer must come before the batch's own time is over.
        { count: waitReplicas, ms: Math.ceil(timeoutMs / 2) },
      );
      tellTrimmed(answer);
      if (replicas < waitReplicas)
        throw new Error(
          `audit: ${replicas} replicas of \`${withoutSecrets(url)}\` have the records, ${waitReplicas} must`,
        );
    },
    counts: () => ({ trimmed, cut }),
    close(): Promise<void> {
      client.close();
      return Promise.resolve();
    },
  };
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
