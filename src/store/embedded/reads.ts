/** What can be read from the LMDB file: records, pages of a kind, heads, the change feed, the list of tenants. */
import type { Kind } from '../../engine/records.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import { mapInTurns } from '../../util/turns.ts';
import {
  readable,
  readablePage,
  Unreadable,
  type FactKey,
  type FactValue,
  type Feed,
  type Head,
  type Page,
  type Snapshot,
} from '../store.ts';
import type { EmbeddedDatabase, FactDbKey } from './database.ts';
import { idOfFact, parsedFact, readEntry, readFact, readHead, readParsed } from './record-json.ts';
import { dbIdOf } from './record-key.ts';

/** Characters of a page's records after which it ends. */
const MAX_PAGE_CHARS = 1_000_000;

type Value = FactValue | Unreadable | undefined;

/** A record of a page as it is stored. */
interface StoredRecord {
  readonly key: FactDbKey;
  readonly value: string;
}

/** As `Store.get`. */
export function getRecords(
  database: EmbeddedDatabase,
  tenant: string,
  keys: readonly FactKey[],
): MaybePromise<Snapshot> {
  const { heads, facts } = database;
  const { head, texts } = database.read((transaction) => ({
    head: readHead(tenant, heads.get(tenant, { transaction })),
    texts: keys.map(({ kind, id }) => facts.get([tenant, kind, dbIdOf(id)], { transaction })),
  }));
  const read = (key: FactKey, index: number): readonly [string, Value] => [
    key.id,
    readFact(key, texts[index]),
  ];
  return later(mapInTurns(keys, read), (values) => readable(head, values));
}

/** As `Store.scan`. */
export function scanKind(
  database: EmbeddedDatabase,
  tenant: string,
  kind: Kind,
  after: string | undefined,
  limit: number,
): MaybePromise<Page> {
  const { heads, facts } = database;
  const { head, page, next } = database.read((transaction) => {
    const range = facts.getRange({
      start: [tenant, kind, after ?? ''],
      // The next string after `kind` that can follow it: kinds have no such suffix.
      end: [tenant, `${kind}\u{1}` as Kind, ''],
      limit: limit + 2,
      transaction,
    });
    return {
      head: readHead(tenant, heads.get(tenant, { transaction })),
      ...firstPage(range, after, limit),
    };
  });
  const read = (record: StoredRecord): readonly [string, FactValue | Unreadable] =>
    readScanned(kind, record);
  return later(mapInTurns(page, read), (values) => readablePage(head, values, next));
}

/** @returns the first records behind `after`, and the key of the last of them where there are more */
function firstPage(
  range: Iterable<StoredRecord>,
  after: string | undefined,
  limit: number,
): { readonly page: readonly StoredRecord[]; readonly next: string | undefined } {
  const page: StoredRecord[] = [];
  let chars = 0;
  for (const record of range) {
    if (record.key[2] === after) continue;
    if (page.length === limit || chars > MAX_PAGE_CHARS) return { page, next: page.at(-1)?.key[2] };
    page.push(record);
    chars += record.value.length;
  }
  return { page, next: undefined };
}

function readScanned(
  kind: Kind,
  { key, value }: StoredRecord,
): readonly [id: string, value: FactValue | Unreadable] {
  const dbId = key[2];
  const parsed = parsedFact(value);
  const id = idOfFact(parsed) ?? dbId;
  // A record that carries another id would take the place of that one.
  return dbIdOf(id) === dbId
    ? [id, readParsed({ kind, id }, parsed)]
    : [id, new Unreadable({ kind, id: dbId }, 'it stands in the place of another record')];
}

/** As `Store.heads`. */
export function readHeads(
  database: EmbeddedDatabase,
  tenants: readonly string[],
): readonly (Head | undefined | 'unknown')[] {
  // A snapshot that nobody needs would only be in the way of a newer one.
  if (tenants.length === 0) return [];
  return database.read((transaction) =>
    tenants.map((tenant) => headOrUnknown(tenant, database.heads.get(tenant, { transaction }))),
  );
}

/** Where one tenant's head cannot be read, that one is `unknown`; the others are returned. */
function headOrUnknown(tenant: string, json: string | undefined): Head | undefined | 'unknown' {
  try {
    return readHead(tenant, json);
  } catch {
    return 'unknown';
  }
}

/** As `Store.feed`. */
export function readFeed(
  database: EmbeddedDatabase,
  tenant: string,
  after: number,
  limit: number,
): Feed {
  return database.read((transaction) => {
    const range = database.entries.getRange({
      start: [tenant, after + 1],
      end: [tenant, Number.MAX_SAFE_INTEGER],
      limit,
      transaction,
    });
    const entries = [...range].map(({ key, value }) => readEntry(key[1], value));
    const isDense = entries[0]?.revision === after + 1;
    const head = readHead(tenant, database.heads.get(tenant, { transaction }));
    return { head, entries: isDense ? entries : [] };
  });
}

/** As `Store.tenants`. */
export function listTenants(database: EmbeddedDatabase): readonly string[] {
  return database.read((transaction) => [...database.heads.getKeys({ transaction })]);
}
