/** Records, pages of a kind and the list of tenants, as Redis has them. */
import type { Kind } from '../../engine/records.ts';
import { mapInTurns } from '../../util/turns.ts';
import {
  readable,
  readablePage,
  Unreadable,
  type FactKey,
  type Page,
  type Snapshot,
} from '../store.ts';
import { inChunks } from './chunks.ts';
import type { Connections } from './connections.ts';
import { parseHead } from './heads.ts';
import { readRecord } from './record-text.ts';
import type { ScriptCall } from './script-call.ts';
import { GET, SCAN } from './scripts.ts';

/** Bytes of a page's records after which it ends. */
const MAX_PAGE_BYTES = 1_000_000;

/** As `Store.get`. */
export async function getRecords(
  connections: Connections,
  tenant: string,
  keys: readonly FactKey[],
): Promise<Snapshot> {
  const names = connections.keys;
  const readPart = (part: readonly FactKey[]): Promise<readonly (string | null)[]> => {
    const places = [names.head(tenant)];
    for (const { kind } of part) places.push(names.records(tenant, kind));
    return runRead(connections, { script: GET, keys: places, args: part.map(({ id }) => id) });
  };
  const { head, values } = await inChunks(tenant, keys, readPart);
  const read = (key: FactKey, index: number) => [key.id, readRecord(key, values[index])] as const;
  return readable(parseHead(head), await mapInTurns(keys, read));
}

/** As `Store.scan`. */
export async function scanKind(
  connections: Connections,
  tenant: string,
  kind: Kind,
  after: string | undefined,
  limit: number,
): Promise<Page> {
  const { keys } = connections;
  const from = after === undefined ? '-' : `(${after}`;
  const [head, more, ...found] = await runRead(connections, {
    script: SCAN,
    keys: [keys.head(tenant), keys.records(tenant, kind), keys.index(tenant, kind)],
    args: [from, limit, MAX_PAGE_BYTES],
  });
  const ids = found.filter((_, index) => index % 2 === 0);
  const entries = await mapInTurns(ids, (id, index) => {
    const key = { kind, id: id ?? '' };
    // One script writes the index and the records: an id without a record was not written by it.
    const none = new Unreadable(key, 'it has no record');
    return [key.id, readRecord(key, found[2 * index + 1]) ?? none] as const;
  });
  return readablePage(parseHead(head), entries, more === '1' ? entries.at(-1)?.[0] : undefined);
}

/** As `Store.tenants`. */
export async function listTenants(connections: Connections): Promise<readonly string[]> {
  await connections.ready();
  const { reader, keys, options } = connections;
  const sets = Array.from({ length: options.shards }, (_, shard) => keys.tenants(shard));
  const members = await Promise.all(
    sets.map((set) => reader.command(options.readTimeoutMs, 'SMEMBERS', set)),
  );
  // `SMEMBERS` replies with a list of texts.
  return (members as string[][]).flat().toSorted();
}

async function runRead(
  connections: Connections,
  call: ScriptCall,
): Promise<readonly (string | null)[]> {
  await connections.ready();
  // These scripts reply with a list of texts; a missing value is null.
  return (await connections.reader.run(connections.options.readTimeoutMs, call)) as (
    string | null
  )[];
}
