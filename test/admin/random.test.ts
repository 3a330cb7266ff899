/**
 * Random management by random actors on real stores. After each operation the whole state is looked at by a second,
 * naive reading of section 8 that shares no code with `src/admin`: what may never be is never there.
 * POSTERN_MANAGEMENT sets how many operations are drawn on each store, POSTERN_SEED which.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATOR } from '../../src/admin/actor.ts';
import { Refused } from '../../src/admin/refused.ts';
import { parse, stringify } from 'yaml';
import type { TreeAction } from '../../src/engine/model.ts';
import type {
  GrantRow,
  NameRecord,
  RefsRecord,
  RoleRecord,
  UserRecord,
} from '../../src/engine/records.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import { bytesOf, manager, PRUNE } from '../support/admin.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { SEED } from '../support/seed.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  BEGINNING,
  dumpOf,
  PATHS,
  randomCall,
  seeded,
  seenIn,
  textOf,
  VERBS,
  type Call,
  type Dump,
  type Random,
} from './cases.ts';

const OPERATIONS = Number(process.env['POSTERN_MANAGEMENT'] ?? 10_000);
/** Operations on one tenant, before the next is begun. */
const EPISODE = 250;

// ── the naive reading ───────────────────────────────────────────────────────────────────────────

function covers(upper: string, lower: string): boolean {
  const above = upper === '' ? [] : upper.split('.');
  const labels = lower === '' ? [] : lower.split('.');
  return above.every((label, at) => labels[at] === label);
}

/** Roles that are reached over membership; a cycle ends the search. */
function reachedRoles(dump: Dump, direct: readonly string[]): Set<string> {
  const reached = new Set<string>();
  const visit = (id: string): void => {
    if (reached.has(id)) return;
    reached.add(id);
    for (const next of dump.role.get(id)?.roles ?? []) visit(next);
  };
  for (const id of direct) visit(id);
  return reached;
}

interface Direct {
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
}

function reachedWorkspaces(dump: Dump, { roles, workspaces }: Direct): Set<string> {
  const all = [...reachedRoles(dump, roles)].flatMap((id) => dump.role.get(id)?.workspaces ?? []);
  return new Set([...workspaces, ...all]);
}

/** One action of one grant row. */
interface Claim {
  readonly holder: string;
  readonly row: GrantRow;
  readonly action: TreeAction;
}

function claimsOf(dump: Dump): Claim[] {
  return (['user', 'role', 'workspace'] as const).flatMap((kind) =>
    [...dump[kind].values()].flatMap(({ id, grants }) =>
      grants.flatMap((row) =>
        row.actions.map((action) => ({ holder: `${kind}:${id}`, row, action })),
      ),
    ),
  );
}

function namesOf(dump: Dump, user: UserRecord): Set<string> {
  return new Set([
    `user:${user.id}`,
    ...[...reachedRoles(dump, user.roles)].map((id) => `role:${id}`),
    ...[...reachedWorkspaces(dump, user)].map((id) => `workspace:${id}`),
  ]);
}

/** Grants and ownerships that a living right gives. */
interface Living {
  readonly claims: ReadonlySet<Claim>;
  /** What none gives. */
  readonly fallen: readonly Claim[];
  /** Paths. */
  readonly owners: ReadonlySet<string>;
}

/** ADM-2 written again, from the ground up: what somebody may give who has it from somebody who may give it. */
function livingRights(dump: Dump): Living {
  const claims = claimsOf(dump);
  const standing = new Set(claims.filter(({ row }) => row.grantor === ''));
  const owners = new Set(
    [...dump.owner.values()].filter(({ grantor }) => grantor === undefined).map(({ path }) => path),
  );
  const ownsAbove = (giver: UserRecord, path: string): boolean =>
    giver.owns.some((at) => owners.has(at) && covers(at, path));
  const heldBy = (giver: UserRecord, path: string): Claim[] => {
    const names = namesOf(dump, giver);
    return [...standing].filter((claim) => names.has(claim.holder) && covers(claim.row.path, path));
  };
  const mayGive = (giver: UserRecord, { row, action }: Claim): boolean => {
    if (giver.superuser || ownsAbove(giver, row.path)) return true;
    const held = heldBy(giver, row.path);
    const holds = (wanted: TreeAction): boolean => held.some((claim) => claim.action === wanted);
    if (holds('admin') && holds(action)) return true;
    return held.some(
      (claim) =>
        claim.action === action &&
        (claim.row.grantOption || claim.row.options?.includes(action) === true) &&
        claim.holder === `user:${giver.id}`,
    );
  };
  const mayAppoint = (giver: UserRecord, path: string): boolean => {
    if (giver.superuser || ownsAbove(giver, path)) return true;
    const held = heldBy(giver, path);
    return VERBS.every((action) => held.some((claim) => claim.action === action));
  };
  const giverOf = (grantor: string): UserRecord | undefined => {
    const giver = grantor.startsWith('user:')
      ? dump.user.get(grantor.slice('user:'.length))
      : undefined;
    return giver?.deleted === false ? giver : undefined;
  };
  for (let grew = true; grew;) {
    grew = false;
    for (const claim of claims) {
      if (standing.has(claim)) continue;
      const giver = giverOf(claim.row.grantor);
      if (giver === undefined || !mayGive(giver, claim)) continue;
      standing.add(claim);
      grew = true;
    }
    for (const { path, grantor = '' } of dump.owner.values()) {
      if (owners.has(path)) continue;
      const giver = giverOf(grantor);
      if (giver === undefined || !mayAppoint(giver, path)) continue;
      owners.add(path);
      grew = true;
    }
  }
  return { claims: standing, owners, fallen: claims.filter((claim) => !standing.has(claim)) };
}

/** Whether a living right gives a user an action at a path (TREE-1, TREE-2). */
function livesFor(dump: Dump, living: Living, id: string, path: string, action: string): boolean {
  const user = dump.user.get(id);
  if (user === undefined || user.deleted || user.suspended) return false;
  if (user.superuser) return true;
  const names = namesOf(dump, user);
  return (
    [...living.owners].some((at) => covers(at, path) && dump.owner.get(at)?.owner === id) ||
    [...living.claims].some(
      (claim) => claim.action === action && names.has(claim.holder) && covers(claim.row.path, path),
    )
  );
}

function activeOwners(dump: Dump): string[] {
  return [...dump.user.values()]
    .filter(({ suspended, deleted, roles }) => !suspended && !deleted && roles.includes('owner'))
    .map(({ id }) => id);
}

/** The derived records, made anew. */
function derived(dump: Dump): { refs: Map<string, RefsRecord>; name: Map<string, NameRecord> } {
  const found: (readonly [
    id: string,
    list: 'members' | 'owners' | 'given' | 'keys' | 'appointed',
    item: string,
  ])[] = [];
  const called: (readonly [what: string, text: string, user: string | undefined])[] = [
    ['indexed', 'full case folding', undefined],
  ];
  const users = [...dump.user.values()];
  const roles = [...dump.role.values()];
  for (const { id, externalId, email } of users) {
    if (id.toLowerCase() !== id) called.push(['fold', id.toLowerCase(), id]);
    if (externalId !== undefined) called.push(['external_id', externalId, id]);
    if (email !== undefined) called.push(['email', email.toLowerCase(), id]);
  }
  for (const [kind, members] of [
    ['user', users],
    ['role', roles],
  ] as const)
    for (const member of members) {
      for (const role of member.roles)
        found.push([`role:${role}`, 'members', `${kind}:${member.id}`]);
      for (const one of member.workspaces)
        found.push([`workspace:${one}`, 'members', `${kind}:${member.id}`]);
    }
  for (const id of activeOwners(dump)) found.push(['role:owner', 'owners', id]);
  for (const { holder, row } of claimsOf(dump))
    if (row.grantor !== '') found.push([row.grantor, 'given', JSON.stringify([holder, row.path])]);
  for (const { path, grantor } of dump.owner.values())
    if (grantor !== undefined) found.push([grantor, 'appointed', path]);
  for (const { id, user, policySets } of dump.key.values()) {
    if (user !== undefined) found.push([`user:${user}`, 'keys', id]);
    for (const set of policySets) found.push([`policy_set:${set}`, 'keys', id]);
  }
  const refs = new Map<string, RefsRecord>();
  for (const id of new Set(found.map(([of]) => of))) {
    const list = (wanted: string): string[] =>
      [
        ...new Set(found.filter(([of, what]) => of === id && what === wanted).map((one) => one[2])),
      ].sort();
    refs.set(id, {
      id,
      members: list('members').length,
      owners: list('owners'),
      given: list('given'),
      keys: list('keys'),
      ...(list('appointed').length === 0 ? {} : { appointed: list('appointed') }),
    });
  }
  const name = new Map<string, NameRecord>();
  for (const [what, text] of called) {
    const id = JSON.stringify([what, text]);
    const of = called
      .filter(([kind, as]) => kind === what && as === text)
      .flatMap((one) => one[2] ?? []);
    name.set(id, { id, users: of.sort() });
  }
  return { refs, name };
}

const flat = (map: ReadonlyMap<string, object>): unknown =>
  [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));

/** Every sentence that is not so. */
function wrongIn(dump: Dump): string[] {
  const wrong: string[] = [];
  const must = (holds: boolean, sentence: string): void => void (holds || wrong.push(sentence));
  const same = (one: unknown, other: unknown): boolean =>
    JSON.stringify(one) === JSON.stringify(other);
  const living = (id: string): boolean => dump.user.get(id)?.deleted === false;

  for (const role of dump.role.values()) {
    const above = reachedRoles(dump, role.roles);
    must(!above.has(role.id), `ADM-6: role ${role.id} is in a cycle`);
    const closure: RoleRecord['closure'] = {
      roles: [...above].sort(),
      workspaces: [...reachedWorkspaces(dump, role)].sort(),
    };
    must(same(role.closure, closure), `closure of ${role.id} is ${JSON.stringify(role.closure)}`);
    must(!dump.user.has(role.id), `\`${role.id}\` is a user and a role`);
  }
  for (const { owner, path } of dump.owner.values()) {
    must(living(owner), `TREE-2: '${path}' is owned by ${owner}, who is not there`);
    must(
      dump.user.get(owner)?.owns.includes(path) === true,
      `TREE-2: ${owner} does not own '${path}'`,
    );
  }
  const folded = new Map<string, string>();
  const called = [...dump.user.values()].flatMap(({ externalId, email }) => [
    ...(externalId === undefined ? [] : [`ID-2: external id ${externalId}`]),
    ...(email === undefined ? [] : [`ADM-4: e-mail ${email.toLowerCase()}`]),
  ]);
  for (const name of called)
    must(called.filter((other) => other === name).length === 1, `${name} is of two users`);
  for (const { id } of dump.tombstone.values()) {
    const [type, name = ''] = id.split(/:(.*)/s);
    must(
      !dump[type === 'role' ? 'role' : 'workspace'].has(name),
      `${id} exists and is a tombstone`,
    );
  }
  for (const user of dump.user.values()) {
    const { id, roles, workspaces, grants, owns, adminOf = [], sessions = [], deleted } = user;
    for (const path of owns)
      must(dump.owner.get(path)?.owner === id, `TREE-2: ${id} owns '${path}', another does too`);
    for (const group of adminOf)
      must(
        roles.some((role) => group === `role:${role}`) ||
          workspaces.some((one) => group === `workspace:${one}`),
        `${id} manages ${group} and is not in it`,
      );
    if (deleted) {
      const has = [roles, workspaces, grants, owns, adminOf, sessions].some(
        ({ length }) => length > 0,
      );
      must(
        !has && !user.superuser && !user.createrole,
        `ADM-8: the tombstone of ${id} holds something`,
      );
    } else {
      const twin = folded.get(id.toLowerCase());
      must(twin === undefined, `ID-2: ${id} and ${twin ?? ''}`);
      folded.set(id.toLowerCase(), id);
    }
  }
  for (const one of [...dump.user.values(), ...dump.role.values()]) {
    for (const id of one.roles)
      must(dump.role.has(id), `${one.id} is in role ${id}, which is gone`);
    for (const id of one.workspaces)
      must(dump.workspace.has(id), `${one.id} is in workspace ${id}, which is gone`);
  }
  for (const { id, creator } of [...dump.role.values(), ...dump.workspace.values()])
    must(
      creator === undefined || living(creator.slice('user:'.length)),
      `ADM-8: ${id} was created by ${creator ?? ''}, who is gone`,
    );
  for (const { id, user, policySets } of dump.key.values()) {
    must(user === undefined || living(user), `ADM-8: key ${id} is of ${user ?? ''}, who is gone`);
    for (const set of policySets) must(dump.policy_set.has(set), `key ${id} has set ${set}, gone`);
  }
  const alive = livingRights(dump);
  for (const { holder, row, action } of alive.fallen)
    wrong.push(`ADM-3: ${row.grantor} may not give ${action} on '${row.path}' to ${holder}`);
  for (const { path, owner, grantor } of dump.owner.values())
    must(
      alive.owners.has(path),
      `ADM-3: ${grantor ?? ''} may not make ${owner} the owner of '${path}'`,
    );
  for (const { grants, id } of [
    ...dump.user.values(),
    ...dump.role.values(),
    ...dump.workspace.values(),
  ]) {
    const rows = grants.map(({ path, grantor }) => JSON.stringify([path, grantor]));
    must(new Set(rows).size === rows.length, `TREE-3: ${id} has a row twice`);
    must(
      grants.every(({ actions }) => actions.length > 0),
      `${id} has a row of no action`,
    );
    must(
      grants.every(
        ({ actions, grantOption, options }) =>
          options === undefined ||
          (!grantOption &&
            options.length > 0 &&
            options.length < actions.length &&
            options.every((action) => actions.includes(action))),
      ),
      `TREE-3: ${id} has a row with other options than some of its actions`,
    );
  }
  const { refs, name } = derived(dump);
  must(
    same(flat(dump.refs), flat(refs)),
    `refs should be ${JSON.stringify(flat(refs))}, are ${JSON.stringify(flat(dump.refs))}`,
  );
  must(
    same(flat(dump.name), flat(name)),
    `names should be ${JSON.stringify(flat(name))}, are ${JSON.stringify(flat(dump.name))}`,
  );
  for (const set of dump.policy_set.values())
    for (const number of [0, set.version])
      must(
        same(dump.policy_version.get(JSON.stringify([set.name, number]))?.set, set),
        `version ${number} of ${set.name} is not the set`,
      );
  return wrong;
}

// ── what one actor can do by itself ─────────────────────────────────────────────────────────────

/** All that a user may do, as sentences: nothing is to be added to it by its own operation. */
function rightsOf(dump: Dump, id: string): Set<string> {
  const user = dump.user.get(id);
  if (user === undefined) return new Set();
  const roles = [...reachedRoles(dump, user.roles)].flatMap((of) => dump.role.get(of) ?? []);
  const names = namesOf(dump, user);
  const held = claimsOf(dump).filter(({ holder }) => names.has(holder));
  const highest = Math.max(-1, ...roles.map(({ level }) => level));
  return new Set([
    ...(user.superuser ? ['superuser'] : []),
    ...(user.createrole ? ['createrole'] : []),
    ...Array.from({ length: highest + 1 }, (_, level) => `level ${level}`),
    ...roles.flatMap(({ permissions }) => permissions),
    ...(user.adminOf ?? []).map((group) => `manages ${group}`),
    ...PATHS.flatMap((path) =>
      VERBS.filter(
        (action) =>
          user.owns.some((owned) => covers(owned, path)) ||
          held.some((claim) => claim.action === action && covers(claim.row.path, path)),
      ).map((action) => `${action} on '${path}'`),
    ),
  ]);
}

/** What an operation gave that its actor could not give. */
function escalations(before: Dump, after: Dump, { who, call }: Call): string[] {
  if (who === 'operator') return [];
  const id = who.replace(/^key:[^/]+\//, '');
  const viaKey = who.startsWith('key:');
  const wrong: string[] = [];
  const actor = before.user.get(id);
  if (actor === undefined || actor.deleted || actor.suspended)
    wrong.push(`${who} is nobody, and did it`);
  const kindsChanged = (['policy_set', 'key'] as const).filter(
    (kind) => JSON.stringify(flat(before[kind])) !== JSON.stringify(flat(after[kind])),
  );
  // Keys of a deleted user go with it (ADM-8).
  if (viaKey && kindsChanged.length > 0 && call !== 'DeleteUser')
    wrong.push(`ADM-1: ${who} changed ${kindsChanged.join(', ')}`);
  if (actor?.superuser === true && !viaKey) return wrong;
  for (const flag of ['superuser', 'createrole'] as const)
    for (const user of after.user.values())
      if (user[flag] && before.user.get(user.id)?.[flag] !== true)
        wrong.push(`ADM-4: ${who} made ${user.id} ${flag}`);
  if (actor?.superuser === true) return wrong;
  const held = [...rightsOf(before, id)];
  if (!held.some((right) => ['postern:admin', '*:*'].includes(right)))
    for (const name of before.tombstone.keys())
      if (!after.tombstone.has(name)) wrong.push(`ADM-4: ${who} created ${name} again`);
  const [self, then] = [before.user.get(id), after.user.get(id)];
  if (
    then?.deleted !== true &&
    (self?.email !== then?.email || self?.externalId !== then?.externalId)
  )
    wrong.push(`ADM-4: ${who} changed its own e-mail or external id`);
  const old = rightsOf(before, id);
  const more = [...rightsOf(after, id)].filter((right) => !old.has(right));
  if (more.length > 0) wrong.push(`ADM-5: ${who} has given itself ${more.join(', ')}`);
  return wrong;
}

// ── the run ─────────────────────────────────────────────────────────────────────────────────────

/** What an actor asks for, or the whole state exported, changed a little and applied. */
async function perform(
  room: ReturnType<typeof manager>,
  tenant: string,
  { who, call, request }: Call,
): Promise<number> {
  if (call !== 'Apply') {
    const { revision } = await room.as(who, call, { ...request, tenant });
    return Number(revision);
  }
  const text = String(request['text']);
  return (await room.admin.apply(OPERATOR, { tenant, ...PRUNE }, bytesOf(text))).revision;
}

/** The exported state without one entry of one of its lists, or as it is. */
async function changedState(
  room: ReturnType<typeof manager>,
  tenant: string,
  random: Random,
): Promise<string> {
  const { text } = await room.admin.export(OPERATOR, { tenant, format: 'yaml' });
  // What was exported is what is there: applied, it changes nothing.
  const { revision } = await room.admin.apply(
    OPERATOR,
    { tenant, prune: false, keep: false },
    bytesOf(text),
  );
  const exported = await room.admin.export(OPERATOR, { tenant, format: 'yaml' });
  expect([exported.revision, exported.text]).toEqual([revision, text]);
  const state = parse(text) as Record<string, unknown>;
  const section = random.pick(['grants', 'owners', 'users', 'roles', 'keys', 'none']);
  const list = state[section];
  if (Array.isArray(list) && list.length > 0) list.splice(random.below(list.length), 1);
  return stringify(state);
}

/** @param every how many operations the state is looked at */
async function run(
  store: Store,
  operations: number,
  every: number,
): Promise<{
  done: number;
  refused: number;
  unchanged: number;
  by: Map<string, [number, number]>;
}> {
  const count = { done: 0, refused: 0, unchanged: 0, by: new Map<string, [number, number]>() };
  for (let first = 0; first < operations; first += EPISODE) {
    const seed = SEED + first;
    const random = seeded(seed);
    const tenant = `tenant-${first}`;
    const room = manager(store);
    const history: Call[] = [];
    for (const { who, call, request } of BEGINNING)
      await room.as(who, call, { ...request, tenant });
    let before = await dumpOf(store, tenant);
    let textBefore = textOf(before);
    for (let at = 0; at < Math.min(EPISODE, operations - first); at++) {
      const call: Call = random.chance(0.01)
        ? {
            who: 'operator',
            call: 'Apply',
            request: { text: await changedState(room, tenant, random) },
          }
        : randomCall(random, seenIn(before));
      history.push(call);
      let revision: number | undefined;
      const problems: string[] = [];
      try {
        revision = await perform(room, tenant, call);
      } catch (error) {
        if (!(error instanceof Refused)) problems.push(`it failed: ${String(error)}`);
      }
      const tally = count.by.get(call.call) ?? [0, 0];
      count.by.set(call.call, tally);
      tally[revision === undefined ? 1 : 0]++;
      if (revision === undefined) count.refused++;
      else if (revision > before.revision) count.done++;
      else count.unchanged++;
      const look = at % every === every - 1;
      // Nobody writes past a commit: where the head is the same, the records are looked at now and then only.
      const whole = revision !== undefined || (look && at % 4 === 1);
      const after = whole
        ? await dumpOf(store, tenant)
        : { ...before, head: JSON.stringify((await store.get(tenant, [])).head ?? null) };
      const text = whole ? textOf(after) : textBefore;
      const sameRecords = text === textBefore;
      if (revision === undefined) {
        if (after.head !== before.head || !sameRecords)
          problems.push('a refusal changed something');
      } else {
        const expected = sameRecords ? before.revision : before.revision + 1;
        if (revision !== expected || after.revision !== expected)
          problems.push(`revision ${revision} of ${after.revision} instead of ${expected}`);
        if (activeOwners(before).length > 0 && activeOwners(after).length === 0)
          problems.push('ADM-5: the last owner is gone');
        problems.push(...escalations(before, after, call));
      }
      if (look && (every > 1 || !sameRecords)) problems.push(...wrongIn(after));
      if (revision !== undefined && look && (every > 1 || at % 4 === 0))
        problems.push(...(await wrongAnswers(room, after, random)));
      if (problems.length > 0)
        throw new Error(
          `POSTERN_SEED=${seed}, operation ${at}: ${JSON.stringify(call)}\n${problems.join('\n')}\n` +
            history
              .slice(-8)
              .map((one) => JSON.stringify(one))
              .join('\n'),
        );
      before = after;
      textBefore = text;
    }
  }
  return count;
}

/** What the service says of one user at one path, and what living rights give it. */
async function wrongAnswers(
  room: ReturnType<typeof manager>,
  dump: Dump,
  random: Random,
): Promise<string[]> {
  const tenant = dump.tenant.get('')?.id ?? '';
  const ids = [...dump.user.values()].filter(({ deleted }) => !deleted).map(({ id }) => id);
  const [id, path] = [random.pick(ids), random.pick(PATHS)];
  const living = livingRights(dump);
  const wrong: string[] = [];
  for (const action of VERBS) {
    const asked = { tenant, principal: `user:${id}`, path, action };
    const { allowed } = await room.as('operator', 'CheckGrant', asked);
    if (allowed !== livesFor(dump, living, id, path, action))
      wrong.push(
        `${id} ${String(allowed)} for ${action} on '${path}', living rights say otherwise`,
      );
  }
  return wrong;
}

/** Random calls that are all refused, or all allowed, would show nothing. */
function lopsided(
  operations: number,
  { done, refused, by }: Awaited<ReturnType<typeof run>>,
): string[] {
  return [
    ...(done > operations * 0.25 ? [] : [`only ${done} of ${operations} were done`]),
    ...(refused > operations * 0.25 ? [] : [`only ${refused} of ${operations} were refused`]),
    ...[...by].flatMap(([call, [allowed, denied]]) =>
      operations < 5_000 || (allowed > 0 && denied > 0) ? [] : [`${call}: ${allowed}, ${denied}`],
    ),
  ];
}

describe(`random management, seed ${SEED}`, () => {
  it(`ADM-1 to ADM-8 hold after each of ${OPERATIONS} operations on the embedded store`, async () => {
    const store = openEmbeddedStore(temporaryDirectory());
    expect(lopsided(OPERATIONS, await run(store, OPERATIONS, 1))).toEqual([]);
    await store.close();
  }, 3_600_000);

  describe('redis', () => {
    let server: RedisServer;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(() => server.dispose());

    it(`ADM-1 to ADM-8 hold throughout ${OPERATIONS} operations on Redis`, async () => {
      const store = openRedisStore({
        ...REDIS_DEFAULTS,
        address: server.url,
        keyPrefix: 'random',
        feedLength: 1_000,
        onProblem: () => {},
      });
      expect(lopsided(OPERATIONS, await run(store, OPERATIONS, 10))).toEqual([]);
      await store.close();
    }, 3_600_000);
  });

  it('the naive reading sees what is wrong', async () => {
    const store = openEmbeddedStore(temporaryDirectory());
    const room = manager(store);
    for (const { who, call, request } of BEGINNING) await room.as(who, call, request);
    const dump = await dumpOf(store);
    expect(wrongIn(dump)).toEqual([]);
    const user = (id: string, fields: Partial<UserRecord>): Dump => {
      const record = dump.user.get(id);
      if (record === undefined) throw new Error(`there is no ${id}`);
      return { ...dump, user: new Map([...dump.user, [id, { ...record, ...fields }]]) };
    };
    const row = (grantor: string): GrantRow => ({
      path: 'd',
      actions: ['admin'],
      grantor,
      grantOption: true,
    });
    const wrong = (changed: Dump): string => wrongIn(changed).join('\n');
    expect(wrong(user('u0', { owns: [] }))).toContain('TREE-2');
    expect(wrong(user('u0', { owns: [] }))).toContain('ADM-3');
    expect(wrong(user('u3', { grants: [row('user:u3')] }))).toContain('ADM-3');
    expect(wrong(user('u3', { roles: ['gone'] }))).toContain('which is gone');
    expect(wrong(user('cara', { deleted: true }))).toContain('ADM-8');
    const role = dump.role.get('r0');
    if (role === undefined) throw new Error('there is no r0');
    const cyclic = new Map([...dump.role, ['r0', { ...role, roles: ['r0'] }] as const]);
    expect(wrong({ ...dump, role: cyclic })).toContain('ADM-6');
    await store.close();
  });
});
