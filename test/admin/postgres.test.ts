/**
 * Grants as PostgreSQL has them: the same random histories on both, and the same rights in the end (TREE-3, ADM-2,
 * ADM-3). Tables are paths, privileges are tree actions, roles that log in are users and the others are roles. What is
 * meant to differ is listed below, and asserted.
 * POSTERN_POSTGRES sets how many histories are drawn for each mode, POSTERN_SEED which.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { Refused } from '../../src/admin/refused.ts';
import { optionsOf } from '../../src/admin/tree/rows.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { readAll, type Store } from '../../src/store/store.ts';
import { defaults, manager, type Manager } from '../support/admin.ts';
import { PostgresError, startPostgres, type PostgresServer } from '../support/postgres-server.ts';
import { SEED } from '../support/seed.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { seeded, type Random } from './cases.ts';

const HISTORIES = Number(process.env['POSTERN_POSTGRES'] ?? 200);
const STEPS = 25;

const PRIVILEGES = { select: 'read', insert: 'create', update: 'write', delete: 'delete' } as const;
type Privilege = keyof typeof PRIVILEGES;
const ALL = Object.keys(PRIVILEGES) as Privilege[];

/** `own` owns every table; the groups nest one way. */
const OWNER = 'own';
const USERS = ['u0', 'u1', 'u2', 'u3', 'u4'] as const;
const GROUPS = ['g0', 'g1'] as const;
const TABLES = ['t0', 't1'] as const;

let postgres: PostgresServer;
let store: Store;
let room: Manager;
beforeAll(async () => {
  postgres = await startPostgres();
  store = openEmbeddedStore(temporaryDirectory());
  room = manager(store);
  await postgres.query(
    [
      ...[OWNER, ...USERS].map((name) => `CREATE ROLE ${name} LOGIN`),
      ...GROUPS.map((name) => `CREATE ROLE ${name} NOLOGIN`),
    ].join(';'),
  );
});
afterAll(async () => {
  await store.close();
  await postgres.dispose();
});

const nameOf = (principal: string): string =>
  principal.startsWith('g') ? `role:${principal}` : `user:${principal}`;

/** The same beginning on both sides. */
async function begin(tenant: string): Promise<void> {
  await postgres.query(
    [
      ...TABLES.flatMap((name) => [
        `DROP TABLE IF EXISTS ${name}`,
        `CREATE TABLE ${name} ()`,
        `ALTER TABLE ${name} OWNER TO ${OWNER}`,
      ]),
      ...GROUPS.flatMap((group) => USERS.map((member) => `REVOKE ${group} FROM ${member}`)),
      'REVOKE g1 FROM g0',
      // From nothing, the owner's own entry is written on both sides of every comparison.
      'SET client_min_messages = error',
    ].join(';'),
  );
  await applyState(
    store,
    {
      tenant,
      users: [{ id: 'root', superuser: true }, ...[OWNER, ...USERS].map((id) => ({ id }))],
      roles: GROUPS.map((id) => ({ id })),
      owners: TABLES.map((path) => ({ path, owner: OWNER })),
    },
    defaults,
    'test',
  );
}

type Row = string;
const rowText = (
  table: string,
  grantor: string,
  grantee: string,
  privilege: string,
  option: boolean,
): Row => `${table}: ${grantor} → ${grantee} ${privilege}${option ? '*' : ''}`;

/** Rows of an access list; those that the owner has by being it are no grants. */
async function postgresRows(): Promise<readonly Row[]> {
  const rows = await postgres.query(`
    SELECT c.relname, g.rolname, e.rolname, lower(a.privilege_type), a.is_grantable
    FROM pg_class c, aclexplode(c.relacl) a, pg_roles g, pg_roles e
    WHERE c.relname IN ('t0', 't1') AND g.oid = a.grantor AND e.oid = a.grantee AND e.rolname <> '${OWNER}'`);
  return rows
    .map(([table = '', grantor = '', grantee = '', privilege = '', option]) =>
      rowText(table, grantor, grantee, PRIVILEGES[privilege as Privilege], option === 't'),
    )
    .sort();
}

async function posternRows(tenant: string): Promise<readonly Row[]> {
  const { records } = await readAll(store, tenant, ['user', 'role']);
  return [...records.user.values(), ...records.role.values()]
    .flatMap(({ id, grants }) =>
      grants.flatMap((row) =>
        row.actions.map((action) =>
          rowText(
            row.path,
            row.grantor.replace('user:', ''),
            id,
            action,
            optionsOf(row).includes(action),
          ),
        ),
      ),
    )
    .sort();
}

/** Who has what in the end, by itself and by groups. */
async function postgresRights(): Promise<readonly string[]> {
  const rows = await postgres.query(
    `SELECT r, t, p FROM unnest(ARRAY['${[...USERS, ...GROUPS].join("','")}']) r,
       unnest(ARRAY['${TABLES.join("','")}']) t, unnest(ARRAY['${ALL.join("','")}']) p
     WHERE has_table_privilege(r, t, p)`,
  );
  return rows
    .map(([who, table, privilege]) => `${who} ${table} ${PRIVILEGES[privilege as Privilege]}`)
    .sort();
}

async function posternRights(tenant: string): Promise<readonly string[]> {
  const rights: string[] = [];
  for (const who of [...USERS, ...GROUPS])
    for (const path of TABLES)
      for (const action of Object.values(PRIVILEGES)) {
        const asked = { tenant, principal: nameOf(who), path, action };
        const { allowed } = await room.as('operator', 'CheckGrant', asked);
        if (allowed === true) rights.push(`${who} ${path} ${action}`);
      }
  return rights.sort();
}

/** What PostgreSQL says of a statement: nothing, or the code of its refusal. */
async function postgresDoes(who: string, statement: string): Promise<string> {
  try {
    await postgres.query(statement, who);
    return '';
  } catch (error) {
    if (error instanceof PostgresError) return error.code;
    throw error;
  }
}

/** What Postern says: nothing, or the kind and rule of its refusal. */
async function posternDoes(who: string, call: string, request: object): Promise<string> {
  try {
    await room.as(who, call, request);
    return '';
  } catch (error) {
    if (error instanceof Refused) return `${error.kind} ${error.rule}`;
    throw error;
  }
}

/** PostgreSQL refuses to give an option back to who it comes from. */
const CIRCLE = '0LP01';

/** Whether a row is one by which somebody may give a privilege on. */
function gives(row: Row, table: string, who: string, privilege: Privilege): boolean {
  return row.startsWith(`${table}: `) && row.endsWith(` → ${who} ${PRIVILEGES[privilege]}*`);
}

/**
 * Rows that no chain of options from the owner reaches. PostgreSQL refuses a circle when it is granted, but not what
 * becomes one when the rows that led into it are revoked: such rows keep each other alive there, and fall in Postern.
 */
function unreached(rows: readonly Row[]): readonly Row[] {
  const reached = new Set<string>();
  const keyOf = (table: string, who: string, action: string): string =>
    `${table} ${who} ${action.replace('*', '')}`;
  for (let before = -1; before < reached.size;) {
    before = reached.size;
    for (const row of rows) {
      const [table = '', grantor = '', , grantee = '', action = ''] = row.split(' ');
      if (grantor !== OWNER && !reached.has(keyOf(table, grantor, action))) continue;
      if (action.endsWith('*')) reached.add(keyOf(table, grantee, action));
    }
  }
  return rows.filter((row) => {
    const [table = '', grantor = '', , , action = ''] = row.split(' ');
    return grantor !== OWNER && !reached.has(keyOf(table, grantor, action));
  });
}

/** The rows that PostgreSQL has after those in circles of their own were revoked. */
async function withoutCircles(): Promise<readonly Row[]> {
  const rows = await postgresRows();
  const [row] = unreached(rows);
  if (row === undefined) return rows;
  const [table = '', grantor = '', , grantee = '', action = ''] = row.split(' ');
  const privilege = ALL.find((one) => PRIVILEGES[one] === action.replace('*', ''));
  await postgresDoes(
    grantor,
    `REVOKE ${privilege} ON ${table.replace(':', '')} FROM ${grantee} CASCADE`,
  );
  const after = await postgresRows();
  if (after.length >= rows.length) throw new Error(`PostgreSQL keeps \`${row}\``);
  return withoutCircles();
}

interface Step {
  readonly who: string;
  readonly grantee: string;
  readonly table: string;
  readonly privileges: readonly Privilege[];
  readonly option: boolean;
}

function drawn(random: Random, privileges: readonly Privilege[], rows: readonly Row[]): Step {
  const table = random.pick(TABLES);
  // Who has something to give is asked more often.
  const givers = rows.flatMap((row) =>
    row.endsWith('*') && row.startsWith(table) ? [row.split(' ')[3] ?? ''] : [],
  );
  const who =
    givers.length > 0 && random.chance(0.75)
      ? random.pick(givers)
      : random.pick([OWNER, OWNER, ...USERS]);
  const grantee = random.pick([...USERS, ...USERS, ...GROUPS]);
  // Mostly what it may give, which is seldom what somebody draws blindly.
  const mayGive = privileges.filter(
    (privilege) => who === OWNER || rows.some((row) => gives(row, table, who, privilege)),
  );
  const from = mayGive.length > 0 && random.chance(0.8) ? mayGive : privileges;
  const some = from.filter(() => random.chance(0.5));
  return {
    who,
    grantee,
    table,
    privileges: some.length === 0 ? [random.pick(from)] : some,
    // Options of groups do not count in Postern: they are a case of their own below.
    option: !grantee.startsWith('g') && random.chance(0.8),
  };
}

/** Mostly of what is there, by who gave it. */
function drawnRevocation(
  random: Random,
  privileges: readonly Privilege[],
  rows: readonly Row[],
): Step {
  const step = drawn(random, privileges, rows);
  if (rows.length === 0 || random.chance(0.2)) return step;
  const optional = rows.filter((row) => row.endsWith('*'));
  const [table = '', who = '', , grantee = '', action = ''] = random
    .pick(random.chance(0.7) && optional.length > 0 ? optional : rows)
    .split(' ');
  const one =
    ALL.find((privilege) => PRIVILEGES[privilege] === action.replace('*', '')) ?? 'select';
  return {
    ...step,
    who,
    grantee,
    table: table.replace(':', ''),
    privileges: [
      one,
      ...(random.chance(0.5) ? step.privileges.filter((other) => other !== one) : []),
    ],
  };
}

/** Both do it, or neither: and each refusal is one that is meant. */
async function grantOnBoth(tenant: string, step: Step, rows: readonly Row[]): Promise<void> {
  const { who, grantee, table, privileges, option } = step;
  const request = {
    tenant,
    principal: nameOf(grantee),
    path: table,
    actions: privileges.map((privilege) => PRIVILEGES[privilege]),
    grant_option: option,
  };
  const all = privileges.every(
    (privilege) => who === OWNER || rows.some((row) => gives(row, table, who, privilege)),
  );
  if (who === grantee || !all) {
    // Nobody grants to itself, and what may not be granted whole is not granted in part (ADM-2).
    expect(await posternDoes(who, 'CreateGrant', request)).toBe('permission_denied ADM-2');
    return;
  }
  const refused = await postgresDoes(
    who,
    `GRANT ${privileges.join(', ')} ON ${table} TO ${grantee}${option ? ' WITH GRANT OPTION' : ''}`,
  );
  expect(['', CIRCLE]).toContain(refused);
  // A circle is allowed in Postern: what only justifies itself in one falls by itself (ADM-3).
  const options = refused === CIRCLE ? { options: { dry_run: true } } : {};
  expect(await posternDoes(who, 'CreateGrant', { ...request, ...options })).toBe('');
}

async function revokeOnBoth(tenant: string, step: Step, optionOnly: boolean): Promise<void> {
  const { who, grantee, table, privileges } = step;
  // One by one: see below. Without its option it warns, or refuses where the actor has no privilege either, and does nothing.
  for (const privilege of privileges)
    await postgresDoes(
      who,
      `REVOKE ${optionOnly ? 'GRANT OPTION FOR ' : ''}${privilege} ON ${table} FROM ${grantee} CASCADE`,
    );
  const said = await posternDoes(who, 'RevokeGrant', {
    tenant,
    principal: nameOf(grantee),
    path: table,
    actions: privileges.map((privilege) => PRIVILEGES[privilege]),
    grant_option_only: optionOnly,
  });
  // Where it gave nothing there is nothing to revoke, and others' rows are not its own to revoke.
  expect(['', 'not_found ', 'permission_denied ADM-3']).toContain(said);
}

async function membershipOnBoth(tenant: string, random: Random): Promise<void> {
  const [group, member] = random.chance(0.2)
    ? (['g1', 'g0'] as const)
    : ([random.pick(GROUPS), random.pick(USERS)] as const);
  const request = { tenant, group: `role:${group}`, member: nameOf(member) };
  if (random.chance(0.6)) {
    await postgres.query(`GRANT ${group} TO ${member}`);
    await posternDoes('root', 'AddMember', request);
  } else {
    await postgres.query(`REVOKE ${group} FROM ${member}`);
    await posternDoes('root', 'RemoveMember', request);
  }
}

/** What histories have shown: those in which nothing falls would show little. */
interface Shown {
  rows: number;
  /** Steps after which more rows were gone than one revocation names. */
  cascades: number;
}

async function history(
  tenant: string,
  seed: number,
  privileges: readonly Privilege[],
  shown: Shown,
): Promise<void> {
  const random = seeded(seed);
  await begin(tenant);
  let rows: readonly Row[] = [];
  const told: string[] = [];
  for (let at = 0; at < STEPS; at++) {
    const dice = random.next();
    const what = dice < 0.65 ? 'grant' : dice < 0.87 ? 'revoke' : 'member';
    const step =
      what === 'revoke'
        ? drawnRevocation(random, privileges, rows)
        : drawn(random, privileges, rows);
    told.push(`${what} ${JSON.stringify(step)}`);
    if (what === 'grant') await grantOnBoth(tenant, step, rows);
    else if (what === 'revoke') await revokeOnBoth(tenant, step, random.chance(0.3));
    else await membershipOnBoth(tenant, random);
    const before = rows;
    rows = await withoutCircles();
    const gone = before.filter((row) => !rows.includes(row) && !rows.includes(`${row}*`));
    if (new Set(gone.map((row) => row.split(' ')[1])).size > 1) shown.cascades++;
    expect(await posternRows(tenant), `POSTERN_SEED=${seed}\n${told.join('\n')}`).toEqual(rows);
  }
  shown.rows += rows.length;
  expect(await posternRights(tenant), `POSTERN_SEED=${seed}`).toEqual(await postgresRights());
}

describe(`histories of ${STEPS} steps, seed ${SEED}`, () => {
  it.each([
    ['one privilege', ['select']],
    ['four privileges', ALL],
  ] as const)(
    `TREE-3, ADM-3: ${HISTORIES} of %s end in the rows and rights of PostgreSQL`,
    async (mode, privileges) => {
      const shown: Shown = { rows: 0, cascades: 0 };
      for (let at = 0; at < HISTORIES; at++)
        await history(`${mode.replace(' ', '-')}-${at}`, SEED + at, privileges, shown);
      expect(shown.rows).toBeGreaterThan(HISTORIES);
      expect(shown.cascades).toBeGreaterThan(HISTORIES / 5);
    },
    600_000,
  );
});

describe('what is meant to differ', () => {
  const given = (
    tenant: string,
    who: string,
    to: string,
    actions: readonly string[],
    option = false,
  ) =>
    posternDoes(who, 'CreateGrant', {
      tenant,
      principal: nameOf(to),
      path: 't0',
      actions,
      grant_option: option,
    });

  it('ADM-2: the option that a group holds does not count for its members', async () => {
    await begin('groups');
    await postgres.query('GRANT g0 TO u0');
    await room.as('root', 'AddMember', { tenant: 'groups', group: 'role:g0', member: 'user:u0' });
    await postgresDoes(OWNER, 'GRANT select ON t0 TO g0 WITH GRANT OPTION');
    await given('groups', OWNER, 'g0', ['read'], true);
    expect(await postgresDoes('u0', 'GRANT select ON t0 TO u1')).toBe('');
    expect(await given('groups', 'u0', 'u1', ['read'])).toBe('permission_denied ADM-2');
  });

  it('ADM-2: what may not be granted whole is not granted in part', async () => {
    await begin('whole');
    await postgresDoes(OWNER, 'GRANT select ON t0 TO u0 WITH GRANT OPTION');
    await given('whole', OWNER, 'u0', ['read'], true);
    expect(await postgresDoes('u0', 'GRANT select, delete ON t0 TO u1')).toBe('');
    expect(await postgresRows()).toContain('t0: u0 → u1 read');
    expect(await given('whole', 'u0', 'u1', ['read', 'delete'])).toBe('permission_denied ADM-2');
    expect(await posternRows('whole')).toEqual(['t0: own → u0 read*']);
  });

  it('ADM-2: nobody grants to itself', async () => {
    await begin('self');
    await postgresDoes(OWNER, 'GRANT select ON t0 TO u0 WITH GRANT OPTION');
    await given('self', OWNER, 'u0', ['read'], true);
    expect(await postgresDoes('u0', 'GRANT select ON t0 TO u0')).toBe('');
    expect(await given('self', 'u0', 'u0', ['read'])).toBe('permission_denied ADM-2');
  });

  it('ADM-3: an option may be given back in a circle, which falls with what it rests on', async () => {
    await begin('circle');
    await postgresDoes(OWNER, 'GRANT select ON t0 TO u0 WITH GRANT OPTION');
    await given('circle', OWNER, 'u0', ['read'], true);
    await postgresDoes('u0', 'GRANT select ON t0 TO u1 WITH GRANT OPTION');
    await given('circle', 'u0', 'u1', ['read'], true);
    expect(await postgresDoes('u1', 'GRANT select ON t0 TO u0 WITH GRANT OPTION')).toBe(CIRCLE);
    expect(await given('circle', 'u1', 'u0', ['read'], true)).toBe('');
    await room.as(OWNER, 'RevokeGrant', { tenant: 'circle', principal: 'user:u0', path: 't0' });
    expect(await posternRows('circle')).toEqual([]);
  });

  it('ADM-3: rows that became a circle of their own fall', async () => {
    await begin('orphans');
    for (const [who, to] of [
      [OWNER, 'u0'],
      ['u0', 'u1'],
      ['u0', 'u2'],
      ['u1', 'u2'],
      ['u2', 'u1'],
    ] as const) {
      expect(await postgresDoes(who, `GRANT select ON t0 TO ${to} WITH GRANT OPTION`)).toBe('');
      expect(await given('orphans', who, to, ['read'], true)).toBe('');
    }
    for (const [who, from] of [
      ['u0', 'u1'],
      ['u0', 'u2'],
    ] as const) {
      expect(await postgresDoes(who, `REVOKE select ON t0 FROM ${from} CASCADE`)).toBe('');
      const revoked = { tenant: 'orphans', principal: nameOf(from), path: 't0' };
      expect(await posternDoes(who, 'RevokeGrant', revoked)).toBe('');
    }
    expect(await postgresRows()).toEqual([
      't0: own → u0 read*',
      't0: u1 → u2 read*',
      't0: u2 → u1 read*',
    ]);
    expect(await posternRows('orphans')).toEqual(['t0: own → u0 read*']);
    expect(await withoutCircles()).toEqual(['t0: own → u0 read*']);
  });

  it('TREE-3: what is there is taken, whatever else is named', async () => {
    await begin('some');
    await postgresDoes(OWNER, 'GRANT delete ON t0 TO u0 WITH GRANT OPTION');
    await given('some', OWNER, 'u0', ['delete'], true);
    await postgresDoes('u0', 'GRANT delete ON t0 TO u1');
    await given('some', 'u0', 'u1', ['delete']);
    // It looks for the privileges of columns, too, and refuses the whole for them.
    expect(await postgresDoes('u0', 'REVOKE select, delete ON t0 FROM u1 CASCADE')).toBe('42501');
    const request = {
      tenant: 'some',
      principal: 'user:u1',
      path: 't0',
      actions: ['read', 'delete'],
    };
    expect(await posternDoes('u0', 'RevokeGrant', request)).toBe('');
    expect(await posternRows('some')).toEqual(['t0: own → u0 delete*']);
  });

  it('TREE-3: a revocation of nothing is told', async () => {
    await begin('nothing');
    expect(await postgresDoes(OWNER, 'REVOKE select ON t0 FROM u0')).toBe('');
    const request = { tenant: 'nothing', principal: 'user:u0', path: 't0' };
    expect(await posternDoes(OWNER, 'RevokeGrant', request)).toBe('not_found ');
  });

  it('TREE-2: an owner has all actions, whatever is revoked from it', async () => {
    await begin('owner');
    await postgresDoes(OWNER, `REVOKE select ON t0 FROM ${OWNER}`);
    expect(await postgres.query(`SELECT has_table_privilege('${OWNER}', 't0', 'select')`)).toEqual([
      ['f'],
    ]);
    const asked = { tenant: 'owner', principal: `user:${OWNER}`, path: 't0', action: 'read' };
    expect(await posternDoes(OWNER, 'RevokeGrant', { ...asked, actions: ['read'] })).toBe(
      'not_found ',
    );
    expect((await room.as('operator', 'CheckGrant', asked))['allowed']).toBe(true);
  });
});
