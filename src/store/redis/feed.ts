/** The change feed of a tenant, a stream in Redis: each entry is read without trust, and carries its version (CONS-6). */
import { KINDS } from '../format/kinds.ts';
import { fields, integer, listOf, number, pair, text, type Shape } from '../format/shape.ts';
import { versionProblem } from '../format/version.ts';
import type { FactKey, Feed, FeedEntry } from '../store.ts';
import type { Connections } from './connections.ts';
import { parseHead } from './heads.ts';
import { FEED } from './scripts.ts';

/** An entry of a stream: id, and fields and their values in turn. */
type StreamEntry = readonly [id: string, fields: readonly string[]];

const bodyShape: Shape = fields({
  event: fields({ actor: text, operation: text }),
  time: number,
});
const keysShape: Shape = listOf(pair(integer(0, KINDS.length - 1), text));

/** As `Store.feed`. */
export async function readFeed(
  connections: Connections,
  tenant: string,
  after: number,
  limit: number,
): Promise<Feed> {
  await connections.ready();
  const { reader, keys, options } = connections;
  const count = Math.min(limit, options.feedLength + 1);
  const from = Math.min(after + 1, Number.MAX_SAFE_INTEGER);
  const reply = await reader.run(options.readTimeoutMs, {
    script: FEED,
    keys: [keys.head(tenant), keys.feed(tenant)],
    args: [from, count],
  });
  // As the script returns it.
  const [head, stream] = reply as [string | null, StreamEntry[]];
  const entries = stream.map(parseEntry);
  const isDense = entries[0]?.revision === after + 1;
  return { head: parseHead(head), entries: isDense ? entries : [] };
}

/** The entry's `e` field, as far as it is JSON. */
interface EntryBody {
  readonly keys?: unknown;
  readonly event?: unknown;
  readonly time?: unknown;
}

/** An entry that cannot be read names no keys: its reader reads everything again. */
function parseEntry([id, values]: StreamEntry): FeedEntry {
  const [revision = '', part] = id.split('-');
  // The fields are those that the commit script writes, in its order.
  const [n, nonce = '', p, previous = '', e, json = '', v, version] = values;
  const place = { revision: Number(revision), nonce, previous };
  const newer = v === 'v' ? versionProblem(Number(version)) : undefined;
  const isComplete = n === 'n' && p === 'p' && e === 'e' && part === '0';
  const body = newer?.problem ?? (isComplete ? parseBody(json) : 'it has other fields');
  if (typeof body === 'string')
    return {
      ...place,
      keys: undefined,
      event: { actor: '', operation: 'unreadable' },
      time: 0,
      needs: newer?.needs,
      unreadable: body,
    };
  return { ...place, ...body };
}

/** @returns what is wrong with it where it cannot be read */
function parseBody(json: string): Pick<FeedEntry, 'keys' | 'event' | 'time'> | string {
  let body: EntryBody | null;
  try {
    // Nothing is believed of it before the shapes have looked at it.
    body = JSON.parse(json) as EntryBody | null;
  } catch {
    return 'it is no JSON';
  }
  const { keys } = body ?? {};
  const problem = bodyShape(body) ?? (keys === null ? undefined : keysShape(keys));
  if (problem !== undefined) return `it ${problem}`;
  // The shapes say so.
  const { event, time } = body as Pick<FeedEntry, 'event' | 'time'>;
  const numbered = keys as readonly (readonly [kind: number, id: string])[] | null;
  return {
    keys: numbered?.map(([kind, id]): FactKey => ({ kind: KINDS[kind] ?? 'tenant', id })),
    event,
    time,
  };
}
