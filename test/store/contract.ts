/** What every store promises (src/store/store.ts), as one suite: each store is one line in contract.test.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Kind } from '../../src/engine/records.ts';
import {
  readAll,
  StoreError,
  type Change,
  type CommitResult,
  type FactKey,
  type FactValue,
  type Head,
  type Page,
  type Store,
} from '../../src/store/store.ts';
import fc from '../support/fast-check.ts';
import { byteOrder } from '../support/memory-store.ts';
import { EVENT, gone, put, role, user } from '../support/records.ts';

/** A store under test. */
export interface Subject {
  readonly store: () => Store;
  /** Called where a store that forgets, or keeps something in memory only, would be caught. */
  readonly reopen: () => Promise<void>;
  readonly feedLength: number;
}

const KINDS = [
  'tenant',
  'user',
  'role',
  'workspace',
  'owner',
  'policy_set',
  'key',
  'receipt',
] as const;

/** The longest path there is: 64 labels of 255 characters (PATH-1). */
const LONGEST_PATH = Array.from({ length: 64 }, (_, at) => String(at % 10).padEnd(255, 'p')).join(
  '.',
);

/** Ids that a store which joins, parses, folds or sorts them in its own way gets wrong (ID-1 to ID-3). */
const AWKWARD_IDS = [
  'a',
  'A',
  'a b',
  'ab',
  'a/b',
  'a\\b',
  'a:b',
  'a,b',
  '0',
  '1',
  '10',
  '2',
  '-1',
  '1e3',
  'null',
  'true',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'sha256:00',
  'é',
  'ß',
  'ü',
  '日本語',
  'ﬀ',
  '\u{10000}',
  '😀',
  '\uffee',
  'x'.repeat(256),
  'x'.repeat(255) + 'y',
  'é'.repeat(128),
  '😀'.repeat(64),
];

const AWKWARD_TENANTS = [
  'acme',
  'acm',
  'acme2',
  'acme 2',
  'acme user',
  'acme:user',
  'ACME',
  '__proto__',
  'constructor',
  '1',
  '租户',
  'tenant 😀',
  't'.repeat(256),
  'é'.repeat(128),
];

/** Values that a codec may lose: none of these is a record, a store does not look. */
const VALUES: readonly FactValue[] = [
  user('u', {
    metadata: JSON.parse(
      '{"__proto__":{"polluted":true},"constructor":1,"5":"five","n":5,"s":"5","f":1.5,"big":9007199254740991,' +
        '"small":5e-324,"negative":-3,"t":true,"f2":false,"nothing":null,"list":[1,"1",true,[]],"empty":{},"":"",' +
        '"emoji":"😀 é 日本語","quote":"\\"\\\\\\u0000\\n"}',
    ) as Record<string, unknown>,
    suspended: true,
    roles: ['__proto__', 'a b'],
    grants: [{ path: '', actions: ['read', 'admin'], grantor: '', grantOption: true }],
    owns: [LONGEST_PATH],
  }).value,
  role('r', ['*:*'], { level: -1, description: '' }).value,
  { path: LONGEST_PATH, owner: '__proto__' },
  {
    name: 's',
    mode: 'report_only',
    version: 2 ** 31,
    rules: [
      {
        id: 'x',
        effect: 'deny',
        actions: ['readonly'],
        attributes: [['__proto__', [1, '1', true]]],
      },
    ],
  },
];

let tenantCount = 0;
/** A tenant that no other test uses. */
function freshTenant(): string {
  return `tenant ${++tenantCount}`;
}

function owner(path: string, id: string): Change {
  return { kind: 'owner', id: path, value: { path, owner: id } };
}

function keysOf(changes: readonly Change[]): FactKey[] {
  return changes.map(({ kind, id }) => ({ kind, id }));
}

/** Every page of a kind, in order. */
async function pages(store: Store, tenant: string, kind: Kind, limit: number): Promise<Page[]> {
  const read: Page[] = [];
  let after: string | undefined;
  do {
    const page = await store.scan(tenant, kind, after, limit);
    read.push(page);
    after = page.next;
  } while (after !== undefined);
  return read;
}

async function idsOf(store: Store, tenant: string, kind: Kind, limit = 1_000): Promise<string[]> {
  const read = await pages(store, tenant, kind, limit);
  return read.flatMap(({ entries }) => entries.map(([id]) => id));
}

export function describeStore(name: string, open: () => Promise<Subject>): void {
  // eslint-disable-next-line vitest/valid-title -- the suite runs once a store, by the store's name
  describe(name, () => {
    let subject: Subject;
    let store: Store;
    const reopen = async (): Promise<void> => {
      await subject.reopen();
      store = subject.store();
    };
    beforeAll(async () => {
      subject = await open();
      store = subject.store();
    });
    afterAll(() => store.close());

    describe('get', () => {
      it('answers present and absent keys in the order asked, with the head of the same snapshot', async () => {
        const tenant = freshTenant();
        const head = await put(store, tenant, user('a'), user('b'), role('a', []));
        await reopen();
        const wanted: FactKey[] = [
          { kind: 'user', id: 'b' },
          { kind: 'user', id: 'nobody' },
          { kind: 'role', id: 'a' },
          { kind: 'user', id: 'a' },
          { kind: 'user', id: 'b' },
        ];
        expect(await store.get(tenant, wanted)).toEqual({
          head,
          values: [
            user('b').value,
            undefined,
            role('a', []).value,
            user('a').value,
            user('b').value,
          ],
        });
      });

      it('answers no head and no value for a tenant that was never written', async () => {
        const tenant = freshTenant();
        expect(await store.get(tenant, [{ kind: 'user', id: 'a' }])).toEqual({
          head: undefined,
          values: [undefined],
        });
        expect(await store.get(tenant, [])).toEqual({ head: undefined, values: [] });
        expect(await store.scan(tenant, 'user', undefined, 10)).toEqual({
          head: undefined,
          entries: [],
          next: undefined,
        });
        expect(await store.feed(tenant, 0, 10)).toEqual({ head: undefined, entries: [] });
        expect(await store.tenants()).not.toContain(tenant);
      });

      it('gives back values unchanged: `__proto__`, numbers, booleans, unicode (ID-3, ABAC-3)', async () => {
        const tenant = freshTenant();
        const changes = VALUES.map((value, at): Change => ({ kind: 'user', id: `v${at}`, value }));
        await put(store, tenant, ...changes);
        await reopen();
        const { values } = await store.get(tenant, keysOf(changes));
        expect(values).toStrictEqual(VALUES);
        // What equality does not tell apart: the order of keys, and an own `__proto__`.
        expect(JSON.stringify(values)).toBe(JSON.stringify(VALUES));
        const { metadata } = values[0] as { metadata: object };
        expect(Object.hasOwn(metadata, '__proto__')).toBe(true);
        expect(Reflect.get({}, 'polluted')).toBeUndefined();
      });

      it('shares no object with its callers', async () => {
        const tenant = freshTenant();
        const change = user('a', { roles: ['kept'] });
        await put(store, tenant, change);
        const read = async (): Promise<FactValue | undefined> =>
          (await store.get(tenant, [{ kind: 'user', id: 'a' }])).values[0];
        (change.value.roles as string[]).push('injected');
        ((await read()) as unknown as { roles: string[] }).roles.push('injected');
        expect(await read()).toEqual(user('a', { roles: ['kept'] }).value);
      });
    });

    describe('commit (CONS-1, CONS-5)', () => {
      it('numbers the commits of a tenant densely from 1, each with a nonce of its own', async () => {
        const [one, other] = [freshTenant(), freshTenant()];
        const heads: Head[] = [];
        for (let at = 1; at <= 12; at++) {
          const head = await put(store, one, user(`u${at}`));
          expect(head.revision).toBe(at);
          heads.push(head, await put(store, other, user(`u${at}`)));
          if (at % 4 === 0) await reopen();
        }
        expect(heads.at(-1)?.revision).toBe(12);
        expect(new Set(heads.map(({ nonce }) => nonce)).size).toBe(heads.length);
      });

      it.each([-1, 0, 1, 3, 4, Number.MAX_SAFE_INTEGER])(
        'refuses expected revision %d at revision 2: it names the head and changes nothing',
        async (expected) => {
          const tenant = freshTenant();
          await put(store, tenant, user('a'));
          const head = await put(store, tenant, user('b'));
          await reopen();
          const changes = [user('a', { superuser: true }), gone('user', 'b'), user('c')];
          const result = await store.commit({ tenant, expected, changes, event: EVENT });
          expect(result).toEqual({ committed: false, head });
          await reopen();
          expect(await store.get(tenant, keysOf(changes))).toEqual({
            head,
            values: [user('a').value, user('b').value, undefined],
          });
          expect((await store.feed(tenant, 0, 10)).entries).toHaveLength(2);
        },
      );

      it('refuses a first commit that expects something, and leaves no tenant behind', async () => {
        const tenant = freshTenant();
        const commit = { tenant, expected: 1, changes: [user('a')], event: EVENT };
        expect(await store.commit(commit)).toEqual({ committed: false, head: undefined });
        expect((await store.get(tenant, [{ kind: 'user', id: 'a' }])).values).toEqual([undefined]);
        expect(await store.tenants()).not.toContain(tenant);
      });

      it('changes everything of a commit or nothing: one value that cannot be stored spoils it', async () => {
        const tenant = freshTenant();
        const head = await put(store, tenant, user('a'));
        const bad = user('bad', { metadata: { n: 1n } });
        const changes = [user('a', { superuser: true }), bad, user('z')];
        await expect(
          store.commit({ tenant, expected: 1, changes, event: EVENT }),
        ).rejects.toBeInstanceOf(StoreError);
        await reopen();
        expect(await store.get(tenant, keysOf(changes))).toEqual({
          head,
          values: [user('a').value, undefined, undefined],
        });
        expect((await put(store, tenant, user('b'))).revision).toBe(2);
      });

      it('a commit that fails leaves others that are under way alone', async () => {
        const [good, bad] = [freshTenant(), freshTenant()];
        const outcomes = await Promise.allSettled([
          store.commit({ tenant: good, expected: 0, changes: [user('a')], event: EVENT }),
          store.commit({
            tenant: bad,
            expected: 0,
            changes: [user('b'), user('c', { metadata: { n: 1n } })],
            event: EVENT,
          }),
          store.commit({ tenant: good, expected: 1, changes: [user('d')], event: EVENT }),
        ]);
        expect(outcomes.map(({ status }) => status)).toEqual([
          'fulfilled',
          'rejected',
          'fulfilled',
        ]);
        await reopen();
        expect(await idsOf(store, good, 'user')).toEqual(['a', 'd']);
        expect(await store.get(bad, [{ kind: 'user', id: 'b' }])).toEqual({
          head: undefined,
          values: [undefined],
        });
      });

      it('a commit of nothing is a revision too: a heartbeat, or a token', async () => {
        const tenant = freshTenant();
        expect((await put(store, tenant)).revision).toBe(1);
        expect((await put(store, tenant)).revision).toBe(2);
        expect((await store.feed(tenant, 0, 10)).entries.map(({ keys }) => keys)).toEqual([[], []]);
      });

      it('the last of several changes of one record counts', async () => {
        const tenant = freshTenant();
        await put(store, tenant, user('a'), gone('user', 'a'), user('a', { superuser: true }));
        await put(store, tenant, user('b'), gone('user', 'b'));
        const wanted = keysOf([user('a'), user('b')]);
        expect((await store.get(tenant, wanted)).values).toEqual([
          user('a', { superuser: true }).value,
          undefined,
        ]);
      });

      it('deletes: the record is gone from get and scan, an absent one may be deleted', async () => {
        const tenant = freshTenant();
        await put(store, tenant, user('a'), user('b'), owner('', 'a'), owner(LONGEST_PATH, 'a'));
        await put(
          store,
          tenant,
          gone('user', 'a'),
          gone('user', 'never'),
          gone('owner', ''),
          gone('owner', LONGEST_PATH),
        );
        await reopen();
        expect(await idsOf(store, tenant, 'user')).toEqual(['b']);
        expect(await idsOf(store, tenant, 'owner')).toEqual([]);
        const wanted = [gone('user', 'a'), gone('owner', ''), gone('owner', LONGEST_PATH)];
        expect((await store.get(tenant, keysOf(wanted))).values).toEqual([
          undefined,
          undefined,
          undefined,
        ]);
        await put(store, tenant, user('a', { superuser: true }));
        expect(await idsOf(store, tenant, 'user')).toEqual(['a', 'b']);
      });

      it.each([0, 3])(
        'of 20 commits at once that expect revision %d exactly one wins, whole',
        async (expected) => {
          const tenant = freshTenant();
          for (let at = 0; at < expected; at++) await put(store, tenant);
          const results = await Promise.all(
            Array.from({ length: 20 }, (_, writer) =>
              store.commit({
                tenant,
                expected,
                changes: [
                  user('first', { email: `w${writer}` }),
                  user('second', { email: `w${writer}` }),
                  user(`only-${writer}`),
                ],
                event: { actor: `w${writer}`, operation: 'race' },
              }),
            ),
          );
          const winner = results.findIndex(({ committed }) => committed);
          expect(results.filter(({ committed }) => committed)).toHaveLength(1);
          const head = (results[winner] as CommitResult).head;
          for (const result of results) expect(result.head).toEqual(head);
          await reopen();
          expect(await idsOf(store, tenant, 'user')).toEqual(['first', `only-${winner}`, 'second']);
          const { values } = await store.get(tenant, keysOf([user('first'), user('second')]));
          expect(values).toMatchObject([{ email: `w${winner}` }, { email: `w${winner}` }]);
          const { entries } = await store.feed(tenant, expected, 10);
          expect(entries.map(({ event }) => event.actor)).toEqual([`w${winner}`]);
        },
      );

      it('a counter that 20 writers raise at once with retries loses no raise', async () => {
        const tenant = freshTenant();
        const raise = async (): Promise<void> => {
          for (;;) {
            const { head, values } = await store.get(tenant, [{ kind: 'role', id: 'n' }]);
            const level = (values[0] as { level: number } | undefined)?.level ?? 0;
            const changes = [role('n', [], { level: level + 1 })];
            const expected = head?.revision ?? 0;
            if ((await store.commit({ tenant, expected, changes, event: EVENT })).committed) return;
          }
        };
        await Promise.all(Array.from({ length: 20 }, raise));
        await reopen();
        const { head, values } = await store.get(tenant, [{ kind: 'role', id: 'n' }]);
        expect(head?.revision).toBe(20);
        expect(values).toMatchObject([{ level: 20 }]);
      });

      it('a commit that was answered is seen by the next read, and by the reader that is called back', async () => {
        const tenant = freshTenant();
        const seen: (number | undefined)[] = [];
        const unwatch = store.watch(() => {
          const read = store.get(tenant, []);
          if (!(read instanceof Promise)) seen.push(read.head?.revision);
          else void read.then(({ head }) => seen.push(head?.revision));
        });
        for (let at = 1; at <= 5; at++) {
          const { revision } = await put(store, tenant, user('a'));
          expect((await store.get(tenant, [])).head?.revision).toBe(revision);
          expect((await store.feed(tenant, 0, 10)).head?.revision).toBe(revision);
          expect((await store.scan(tenant, 'user', undefined, 1)).head?.revision).toBe(revision);
        }
        unwatch();
        expect(seen).toContain(5);
      });
    });

    describe('feed (CONS-1, CONS-4)', () => {
      it('tells every commit: its keys, its event, and the nonce of the one before', async () => {
        const tenant = freshTenant();
        const heads = [
          await put(store, tenant, user('a'), role('r', [])),
          await put(store, tenant, gone('user', 'a')),
          await put(store, tenant, owner('', '__proto__'), owner(LONGEST_PATH, 'é')),
        ];
        await reopen();
        const { head, entries } = await store.feed(tenant, 0, 10);
        expect(head).toEqual(heads[2]);
        expect(entries.map(({ revision, nonce }) => ({ revision, nonce }))).toEqual(heads);
        expect(entries.map(({ previous }) => previous)).toEqual([
          '',
          heads[0]?.nonce,
          heads[1]?.nonce,
        ]);
        expect(entries.map(({ keys }) => keys)).toEqual([
          [
            { kind: 'user', id: 'a' },
            { kind: 'role', id: 'r' },
          ],
          [{ kind: 'user', id: 'a' }],
          [
            { kind: 'owner', id: '' },
            { kind: 'owner', id: LONGEST_PATH },
          ],
        ]);
        for (const { event, time } of entries) {
          expect(event).toEqual(EVENT);
          expect(Math.abs(Date.now() - time)).toBeLessThan(60_000);
        }
      });

      it('names the keys of a commit of 1,000 changes, and none of one of 1,001: read everything again', async () => {
        const tenant = freshTenant();
        for (const count of [1_000, 1_001])
          await put(store, tenant, ...Array.from({ length: count }, (_, at) => user(`user-${at}`)));
        const { entries } = await store.feed(tenant, 0, 10);
        expect(entries.map(({ keys }) => keys?.length)).toEqual([1_000, undefined]);
        expect(entries.map(({ unreadable }) => unreadable)).toEqual([undefined, undefined]);
      });

      it('is read from any revision, with any limit, densely', async () => {
        const tenant = freshTenant();
        for (let at = 0; at < 7; at++) await put(store, tenant, user(`u${at}`));
        await reopen();
        const { head } = await store.get(tenant, []);
        for (let after = 0; after <= 9; after++)
          for (const limit of [1, 2, 7, 8, Number.MAX_SAFE_INTEGER]) {
            const feed = await store.feed(tenant, after, limit);
            const expected = [1, 2, 3, 4, 5, 6, 7].filter((at) => at > after).slice(0, limit);
            expect(feed.entries.map(({ revision }) => revision)).toEqual(expected);
            expect(feed.head).toEqual(head);
          }
      });

      it('answers nothing, rather than a part, to a reader whose next entry was trimmed', async () => {
        const tenant = freshTenant();
        const { feedLength } = subject;
        const over = 5;
        // All at once, since each knows its revision: a store may flush them together.
        await Promise.all(
          Array.from({ length: feedLength + over }, (_, expected) =>
            store.commit({ tenant, expected, changes: [user('a')], event: EVENT }),
          ),
        );
        await reopen();
        const { head } = await store.get(tenant, []);
        expect(head?.revision).toBe(feedLength + over);
        for (const after of [0, 1, over - 1])
          expect(await store.feed(tenant, after, 10)).toEqual({ head, entries: [] });
        const all = await store.feed(tenant, over, Number.MAX_SAFE_INTEGER);
        expect(all.entries).toHaveLength(feedLength);
        expect(all.entries[0]?.revision).toBe(over + 1);
        let previous = all.entries[0]?.previous;
        for (const entry of all.entries) {
          if (entry.previous !== previous) expect(entry.previous).toBe(previous);
          previous = entry.nonce;
        }
        expect(previous).toBe(head?.nonce);
        // The record itself is not the feed's.
        expect((await store.get(tenant, [{ kind: 'user', id: 'a' }])).values).toEqual([
          user('a').value,
        ]);
      });
    });

    describe('heads', () => {
      it('answers for many tenants at once, in the order asked, absent ones and repeated ones too', async () => {
        const names = AWKWARD_TENANTS.map((name) => `heads ${name}`);
        const expected = new Map<string, Head>();
        for (const [at, name] of names.entries())
          if (at % 3 !== 2) expected.set(name, await put(store, name, user('a')));
        await reopen();
        const asked = [...names, ...names.toReversed(), freshTenant()];
        expect(await store.heads(asked)).toEqual(asked.map((name) => expected.get(name)));
        expect(await store.heads([])).toEqual([]);
      });
    });

    describe('tenants', () => {
      it('are isolated: the same ids in all of them, whatever they are called', async () => {
        const label = (tenant: string, id: string): string => `${tenant} | ${id}`;
        const expected = new Map<string, number>();
        for (const tenant of AWKWARD_TENANTS) {
          const changes = AWKWARD_IDS.map((id) => user(id, { email: label(tenant, id) }));
          expected.set(tenant, (await put(store, tenant, ...changes)).revision);
          if (tenant.length % 2 === 0) expected.set(tenant, (await put(store, tenant)).revision);
        }
        await put(store, 'acme', ...AWKWARD_IDS.map((id) => gone('user', id)));
        await reopen();
        for (const tenant of AWKWARD_TENANTS.slice(1)) {
          const { head, values } = await store.get(
            tenant,
            AWKWARD_IDS.map((id) => ({ kind: 'user', id })),
          );
          expect(head?.revision).toBe(expected.get(tenant));
          expect(values).toEqual(
            AWKWARD_IDS.map((id) => user(id, { email: label(tenant, id) }).value),
          );
          expect(await idsOf(store, tenant, 'user')).toEqual(AWKWARD_IDS.toSorted(byteOrder));
        }
        expect(await idsOf(store, 'acme', 'user')).toEqual([]);
        const named = await store.tenants();
        for (const tenant of AWKWARD_TENANTS) expect(named).toContain(tenant);
        expect(new Set(named).size).toBe(named.length);
      });
    });

    describe('scan', () => {
      it('yields byte order with every page size, one snapshot a page', async () => {
        const tenant = freshTenant();
        const head = await put(store, tenant, ...AWKWARD_IDS.map((id) => user(id)));
        await reopen();
        const sorted = AWKWARD_IDS.toSorted(byteOrder);
        // The order is told apart from that of UTF-16 by these ids.
        expect(sorted).not.toEqual(AWKWARD_IDS.toSorted());
        for (let limit = 1; limit <= AWKWARD_IDS.length + 2; limit++) {
          const read = await pages(store, tenant, 'user', limit);
          expect(read.flatMap(({ entries }) => entries)).toEqual(
            sorted.map((id) => [id, user(id).value]),
          );
          for (const page of read) expect(page.head).toEqual(head);
          expect(read).toHaveLength(Math.ceil(AWKWARD_IDS.length / limit));
          for (const page of read.slice(0, -1)) expect(page.entries).toHaveLength(limit);
        }
      });

      it('goes on after an id that is not there (any more)', async () => {
        const tenant = freshTenant();
        await put(store, tenant, user('a'), user('c'), user('d'));
        for (const [after, ids] of [
          ['a', ['c', 'd']],
          ['b', ['c', 'd']],
          ['', ['a', 'c', 'd']],
          ['d', []],
          ['é', []],
        ] as const) {
          const page = await store.scan(tenant, 'user', after, 10);
          expect(page.entries.map(([id]) => id)).toEqual(ids);
          expect(page.next).toBeUndefined();
        }
      });

      it('keeps kinds apart: `role` and `workspace` next to ids that begin alike', async () => {
        const tenant = freshTenant();
        const ids = ['', '\u00ff', 'key', 'owner', 'role', 's', 'set', 'user', '_set'];
        // No record has such an id but the root's owner; a store does not look at what it keeps.
        for (const kind of KINDS)
          await put(
            store,
            tenant,
            ...ids.map((id): Change => ({ kind, id, value: { id: `${kind} ${id}` } })),
          );
        await reopen();
        for (const kind of KINDS)
          for (const limit of [1, 2, 100]) {
            const read = await pages(store, tenant, kind, limit);
            expect(read.flatMap(({ entries }) => entries)).toEqual(
              ids.toSorted(byteOrder).map((id) => [id, { id: `${kind} ${id}` }]),
            );
          }
        await put(store, tenant, ...ids.map((id) => gone('role', id)));
        expect(await idsOf(store, tenant, 'role')).toEqual([]);
        for (const kind of KINDS)
          if (kind !== 'role') expect(await idsOf(store, tenant, kind)).toHaveLength(ids.length);
      });

      it('yields owners of the root and of the longest paths, each once (PATH-1)', async () => {
        const tenant = freshTenant();
        const long = Array.from({ length: 9 }, (_, at) => `${LONGEST_PATH.slice(0, -1)}${at}`);
        const short = ['', 'a', 'a.b', 'zz'];
        const paths = [...short, ...long];
        await put(store, tenant, ...paths.map((path) => owner(path, `owner of ${path}`)));
        await reopen();
        const { values } = await store.get(
          tenant,
          paths.map((id) => ({ kind: 'owner', id })),
        );
        expect(values).toEqual(paths.map((path) => ({ path, owner: `owner of ${path}` })));
        for (let limit = 1; limit <= paths.length + 1; limit++) {
          const ids = await idsOf(store, tenant, 'owner', limit);
          expect(ids).toHaveLength(paths.length);
          expect(new Set(ids)).toEqual(new Set(paths));
        }
      });
    });

    describe('readAll', () => {
      it('begins again when a commit comes between two pages or two kinds', async () => {
        const tenant = freshTenant();
        await put(store, tenant, user('a'), role('r', []), role('s', []));
        let commits = 0;
        let scans = 0;
        const disturbed: Store = {
          ...store,
          async scan(name, kind, after): Promise<Page> {
            scans++;
            // One record a page; the first three attempts are spoiled, at another place each.
            if ([2, 5, 9].includes(scans)) {
              commits++;
              await put(store, tenant, user('a', { email: `${commits}` }), role(`n${commits}`, []));
            }
            return store.scan(name, kind, after, 1);
          },
        };
        const { head, records } = await readAll(disturbed, tenant, ['role', 'user']);
        expect(commits).toBe(3);
        expect(head?.revision).toBe(4);
        expect([...records.role.keys()]).toEqual(['n1', 'n2', 'n3', 'r', 's']);
        expect(records.user.get('a')?.email).toBe('3');
      });

      it('begins again when the tenant appears while it reads', async () => {
        const tenant = freshTenant();
        let scans = 0;
        const disturbed: Store = {
          ...store,
          async scan(...call): Promise<Page> {
            if (++scans === 2) await put(store, tenant, user('a'), role('r', []));
            return store.scan(...call);
          },
        };
        const { head, records } = await readAll(disturbed, tenant, ['role', 'user']);
        expect(head?.revision).toBe(1);
        expect([...records.role.keys(), ...records.user.keys()]).toEqual(['r', 'a']);
      });

      it('reads all kinds of a tenant at its head', async () => {
        const tenant = freshTenant();
        await put(store, tenant, ...KINDS.map((kind) => ({ kind, id: 'x', value: { id: kind } })));
        await reopen();
        const { head, records } = await readAll(store, tenant, KINDS);
        expect(head?.revision).toBe(1);
        for (const kind of KINDS) expect([...records[kind]]).toEqual([['x', { id: kind }]]);
      });
    });

    describe('watch', () => {
      it('calls back after a commit, once it is visible, until it is told to stop', async () => {
        const tenant = freshTenant();
        let calls = 0;
        let others = 0;
        const unwatch = store.watch(() => calls++);
        const unwatchOther = store.watch(() => others++);
        await put(store, tenant, user('a'));
        expect(calls).toBeGreaterThan(0);
        expect(others).toBeGreaterThan(0);
        unwatch();
        // What was under way when it was told to stop may still arrive, from outside of this process.
        const before = calls;
        await put(store, tenant, user('b'));
        await new Promise((done) => setTimeout(done, 50));
        expect(calls).toBe(before);
        expect(others).toBeGreaterThan(1);
        unwatchOther();
        unwatchOther();
      });

      it('a listener that stops itself while it is called harms no other', async () => {
        const tenant = freshTenant();
        let others = 0;
        const unwatch = store.watch(() => unwatch());
        const unwatchOther = store.watch(() => others++);
        await put(store, tenant, user('a'));
        expect(others).toBeGreaterThan(0);
        unwatchOther();
      });
    });

    describe('close', () => {
      it('is idempotent, and calls at once share it', async () => {
        const closing = await open();
        const closed = closing.store();
        await put(closed, freshTenant(), user('a'));
        await Promise.all([closed.close(), closed.close()]);
        await expect(closed.close()).resolves.toBeUndefined();
      });
      it('afterwards everything is a StoreError: a caller denies', async () => {
        const closing = await open();
        const closed = closing.store();
        const tenant = freshTenant();
        await put(closed, tenant, user('a'));
        await closed.close();
        const calls = [
          async () => closed.commit({ tenant, expected: 1, changes: [], event: EVENT }),
          async () => closed.get(tenant, []),
          async () => closed.scan(tenant, 'user', undefined, 1),
          async () => closed.feed(tenant, 0, 1),
          async () => closed.tenants(),
          async () => closed.heads([tenant]),
        ];
        for (const call of calls) await expect(call()).rejects.toBeInstanceOf(StoreError);
      });
    });

    describe('a large commit (CONS-5)', () => {
      /** Of each of two kinds, by numbers. */
      const pairs = (from: number, to: number, generation: string): Change[] =>
        Array.from({ length: to - from }, (_, at) => [
          user(`u${from + at}`, { email: generation }),
          owner(`p${from + at}`, generation),
        ]).flat();
      const deletions = (from: number, to: number): Change[] =>
        pairs(from, to, '').map(({ kind, id }) => gone(kind, id));
      const read = async (tenant: string): Promise<ReadonlyMap<string, FactValue>> => {
        const { records } = await readAll(store, tenant, KINDS);
        return new Map(
          KINDS.flatMap((kind) => [...records[kind]].map(([id, it]) => [`${kind} ${id}`, it])),
        );
      };
      const model = (...commits: (readonly Change[])[]): ReadonlyMap<string, FactValue> => {
        const all = new Map<string, FactValue>();
        for (const { kind, id, value } of commits.flat())
          if (value === undefined) all.delete(`${kind} ${id}`);
          else all.set(`${kind} ${id}`, value);
        return all;
      };
      const before = [...pairs(0, 1_500, 'old'), role('r', ['*:*']), role('gone', [])];
      const change = [
        ...pairs(500, 2_500, 'new'),
        ...deletions(0, 500),
        // The last of several changes counts.
        user('u2499', { email: 'last' }),
        user('u2498'),
        gone('user', 'u2498'),
        role('r', []),
        gone('role', 'gone'),
        role('s', []),
      ];

      it('puts, replaces and deletes records of several kinds, and leaves the others', async () => {
        const tenant = freshTenant();
        const other = freshTenant();
        await put(store, tenant, ...before);
        await put(store, other, ...before);
        await reopen();
        expect(await read(tenant)).toEqual(model(before));
        const head = await put(store, tenant, ...change);
        await reopen();
        expect(await read(tenant)).toEqual(model(before, change));
        expect(await read(other)).toEqual(model(before));
        expect((await store.heads([tenant]))[0]).toEqual(head);
        const { entries } = await store.feed(tenant, 1, 10);
        expect(entries).toMatchObject([{ ...head, keys: undefined, event: EVENT }]);
        // Small ones on top of it, and one that leaves nothing of both kinds.
        await put(store, tenant, user('u1', { email: 'small' }), gone('owner', 'p1000'));
        const small = [user('u1', { email: 'small' }), gone('owner', 'p1000')];
        expect(await read(tenant)).toEqual(model(before, change, small));
        await put(store, tenant, ...deletions(0, 2_500));
        expect([...(await read(tenant)).keys()].toSorted()).toEqual(['role r', 'role s']);
        await put(store, tenant, ...pairs(0, 700, 'again'));
        expect((await read(tenant)).size).toBe(1_402);
      });

      it('is seen whole or not at all by who reads meanwhile', async () => {
        const tenant = freshTenant();
        await put(store, tenant, ...before);
        const state = { done: false };
        const seen = new Set<string>();
        const watching = (async (): Promise<void> => {
          while (!state.done) {
            const keys = [
              user('u0'),
              user('u600'),
              owner('p600', ''),
              owner('p2400', ''),
              role('s', []),
            ];
            const { head, values } = await store.get(tenant, keys);
            seen.add(JSON.stringify([head?.revision, ...values.map((it) => it !== undefined)]));
            const page = await store.scan(tenant, 'owner', undefined, 3);
            seen.add(JSON.stringify([page.head?.revision, page.entries[0]?.[0]]));
            await new Promise((next) => setImmediate(next));
          }
        })();
        await put(store, tenant, ...change);
        state.done = true;
        await watching;
        const whole = [
          JSON.stringify([1, true, true, true, false, false]),
          JSON.stringify([2, false, true, true, true, true]),
          JSON.stringify([1, 'p0']),
          JSON.stringify([2, 'p1000']),
        ];
        for (const one of seen) expect(whole).toContain(one);
      });

      it('is not done at all where another one comes first, is expected of another history, or cannot be stored', async () => {
        const tenant = freshTenant();
        const head = await put(store, tenant, ...before);
        const commit = { tenant, expected: 1, changes: change, event: EVENT };
        for (const wrong of [{ expected: 0 }, { expected: 2 }, { nonce: 'other' }])
          expect(await store.commit({ ...commit, ...wrong })).toEqual({ committed: false, head });
        const circle: Record<string, unknown> = {};
        circle['self'] = circle;
        const spoilt = [...change, user('circle', { metadata: circle })];
        await expect(store.commit({ ...commit, changes: spoilt })).rejects.toThrow(
          /circular|cannot be stored|could not commit/i,
        );
        expect(await read(tenant)).toEqual(model(before));
        // All at once: one of them is first, whole.
        const small = [user('small')];
        const results = await Promise.all([
          store.commit(commit),
          store.commit({ ...commit, changes: small }),
          store.commit({ ...commit, changes: deletions(0, 1_500) }),
        ]);
        expect(results.filter(({ committed }) => committed)).toHaveLength(1);
        const winner = [change, small, deletions(0, 1_500)][
          results.findIndex(({ committed }) => committed)
        ];
        expect(await read(tenant)).toEqual(model(before, winner ?? []));
        expect((await store.heads([tenant]))[0]).toMatchObject({ revision: 2 });
      });

      it('comes to its end though small ones come before it again and again', async () => {
        const tenant = freshTenant();
        await put(store, tenant, ...before);
        const state = { done: false };
        const others = (async (): Promise<void> => {
          while (!state.done) {
            await put(store, tenant, user('small')).catch(() => {});
            await new Promise((next) => setTimeout(next, 50));
          }
        })();
        try {
          for (let tries = 0; ; tries++) {
            expect(tries).toBeLessThan(100);
            const [head] = await store.heads([tenant]);
            if (head === undefined || head === 'unknown') throw new Error('no head');
            const expected = head.revision;
            const result = await store.commit({ tenant, expected, changes: change, event: EVENT });
            if (result.committed) break;
          }
        } finally {
          state.done = true;
          await others;
        }
        const found = new Map(await read(tenant));
        found.delete('user small');
        expect(found).toEqual(model(before, change));
      });
    });

    it('random commits leave what a plain model of them leaves (CONS-5)', async () => {
      const ids = fc.constantFrom(
        '',
        'a',
        'a b',
        '__proto__',
        'é',
        '\u{10000}',
        '\uffee',
        LONGEST_PATH,
      );
      const change = fc.record({
        kind: fc.constantFrom<Kind>('user', 'role', 'owner', 'key'),
        id: ids,
        value: fc.option(fc.record({ id: fc.string({ unit: 'grapheme' }), owner: fc.string() }), {
          nil: undefined,
          freq: 3,
        }),
      });
      const step = fc.record({
        tenant: fc.constantFrom('', ' ', 'user', '\u{10000}'),
        // How far the writer's idea of the revision is off.
        off: fc.constantFrom(0, 0, 0, 0, -1, 1),
        changes: fc.array(change, { maxLength: 6 }),
        reopen: fc.constantFrom(false, false, false, true),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const prefix = freshTenant();
          const model = new Map<string, { log: FactKey[][]; records: Map<string, FactValue> }>();
          const nameOf = (kind: Kind, id: string): string => JSON.stringify([kind, id]);
          for (const { tenant: suffix, off, changes, reopen: again } of steps) {
            const tenant = prefix + suffix;
            const state = model.get(tenant) ?? { log: [], records: new Map<string, FactValue>() };
            const expected = Math.max(0, state.log.length + off);
            const result = await store.commit({ tenant, expected, changes, event: EVENT });
            expect(result.committed).toBe(expected === state.log.length);
            if (result.committed) {
              model.set(tenant, state);
              state.log.push(keysOf(changes));
              for (const { kind, id, value } of changes)
                if (value === undefined) state.records.delete(nameOf(kind, id));
                else state.records.set(nameOf(kind, id), value);
            }
            expect(result.head?.revision ?? 0).toBe(state.log.length);
            if (again) await reopen();
          }
          for (const [tenant, { log, records }] of model) {
            const { head, records: read } = await readAll(store, tenant, KINDS);
            expect(head?.revision).toBe(log.length);
            const found = KINDS.flatMap((kind) =>
              [...read[kind]].map(([id, value]) => [nameOf(kind, id), value] as const),
            );
            expect(new Map(found)).toEqual(records);
            expect(found).toHaveLength(records.size);
            const feed = await store.feed(tenant, 0, Number.MAX_SAFE_INTEGER);
            expect(feed.entries.map(({ keys }) => keys)).toEqual(log);
          }
          const named = (await store.tenants()).filter((tenant) => model.has(tenant));
          expect(named).toHaveLength(model.size);
        }),
        { numRuns: 60 },
      );
    });
  });
}
