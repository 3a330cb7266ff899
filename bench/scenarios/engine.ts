/** The engine alone, warm, on one core, against bare look-ups of the same facts in plain Maps. */
import { compileKey, type KeyFacts } from '../../src/engine/abac.ts';
import { compileCatalog } from '../../src/engine/action.ts';
import { decide } from '../../src/engine/decide.ts';
import type { Facts } from '../../src/engine/decision.ts';
import { explain } from '../../src/engine/explain.ts';
import { filter } from '../../src/engine/filter.ts';
import type { Request } from '../../src/engine/model.ts';
import type { PolicySetRecord } from '../../src/engine/records.ts';
import { compileUser, groupsOf, type SubjectFacts } from '../../src/engine/subject.ts';
import {
  bareMaps,
  lookAcl,
  lookAll,
  lookRbac,
  lookRule,
  lookRuleAndAcl,
  lookTree,
  type BareMaps,
} from '../floor.ts';
import { compare, measure, type Compared, type Timing, type Work } from '../measure.ts';
import {
  assertAnswer,
  time,
  type Row,
  type RunOptions,
  type Scenario,
  type Table,
} from '../scenario.ts';
import {
  buildWorld,
  CATALOG,
  KEY,
  objectAt,
  requestAt,
  ROLES,
  TENANT,
  USER,
  VARIETY,
  type World,
} from '../world.ts';

/** A combined Check may cost so many bare look-ups of the same facts. */
const CHECK_TARGET = 2.5;
const FILTER_TARGET_MS = 0.25;
const FILTER_OBJECTS = 1_000;

export const engineCheck: Scenario = {
  name: 'engine-check',
  run({ effort }: RunOptions): Table {
    const world = buildWorld();
    const maps = bareMaps(world.records);
    const whole = world.facts.resolve(requestAt(0), 0);
    const { subject: subjectFacts, key } = whole;
    if (subjectFacts === undefined || key === undefined || key === 'invalid')
      throw new Error('the world has no subject or no key');
    assertAnswer('closure', [...subjectFacts.groups.roles.keys()].toSorted(), ROLES);
    const withoutKey: Facts = { ...whole, key: undefined };
    const withoutSubject: Facts = { ...whole, subject: undefined };
    const row = (
      scenario: string,
      type: string,
      facts: Facts,
      look: (maps: BareMaps, request: Request) => boolean,
    ): Row => checkRow(scenario, requests(type), facts, maps, look, effort);
    const combined = compareChecks(requests('document'), whole, maps, lookAll, effort);
    return {
      name: 'engine-check',
      rows: [
        row('RBAC', 'by-rbac', withoutKey, lookRbac),
        row('tree', 'by-tree', withoutKey, lookTree),
        row('ACL', 'by-acl', withoutKey, lookAcl),
        row('ABAC (a key alone)', 'document', withoutSubject, lookRule),
        {
          ...comparedRow('combined: all of RBAC, tree, ACL, and ABAC', combined),
          target: {
            text: `≤ ${CHECK_TARGET} × floor`,
            met: combined.ratio <= CHECK_TARGET,
          },
        },
      ],
    };
  },
};

function requests(type: string): readonly Request[] {
  return Array.from({ length: VARIETY }, (_, n) => requestAt(n, type));
}

function checkRow(
  scenario: string,
  asked: readonly Request[],
  facts: Facts,
  maps: BareMaps,
  look: (maps: BareMaps, request: Request) => boolean,
  effort: RunOptions['effort'],
): Row {
  return comparedRow(scenario, compareChecks(asked, facts, maps, look, effort));
}

function compareChecks(
  asked: readonly Request[],
  facts: Facts,
  maps: BareMaps,
  look: (maps: BareMaps, request: Request) => boolean,
  effort: RunOptions['effort'],
): Compared {
  for (const request of asked) {
    assertAnswer('engine', decide(request, facts).allowed, true);
    assertAnswer('floor', look(maps, request), true);
  }
  return compare(
    inTurn(asked, (request) => decide(request, facts).allowed),
    inTurn(asked, (request) => look(maps, request)),
    effort,
  );
}

/** Calls `work` with one after the other. */
function inTurn<T>(values: readonly T[], work: (value: T) => unknown): Work {
  let at = 0;
  return () => {
    at = at + 1 === values.length ? 0 : at + 1;
    const value = values[at];
    return value !== undefined && work(value);
  };
}

export const engineFilter: Scenario = {
  name: 'engine-filter',
  run({ effort }: RunOptions): Table {
    const world = buildWorld();
    const maps = bareMaps(world.records);
    return {
      name: 'engine-filter',
      rows: [
        filterRow(
          'key with two attributes, subject with ACLs',
          'by-acl',
          world,
          maps,
          effort,
          true,
        ),
        filterRow('all four models, paths of depth 6', 'document', world, maps, effort, false),
      ],
    };
  },
};

function filterRow(
  scenario: string,
  type: 'by-acl' | 'document',
  world: World,
  maps: BareMaps,
  effort: RunOptions['effort'],
  promised: boolean,
): Row {
  const request = requestAt(0, type);
  const facts = world.facts.resolve(request, 0);
  // Two of three objects have the attributes that the key's rule asks for.
  const objects = Array.from({ length: FILTER_OBJECTS }, (_, n) => objectAt(n, n % 3 !== 0, type));
  const query = { action: request.action, objects, offset: 0, limit: 0 };
  const questions = objects.map((resource) => ({ ...request, resource }));
  const look = type === 'by-acl' ? lookRuleAndAcl : lookAll;
  const expected = questions.flatMap((question, n) => (look(maps, question) ? [n] : []));
  assertAnswer('visible', expected.length, 666);
  assertAnswer('Filter', filter(query, facts).visible, expected);
  assertAnswer(
    'Filter is Check one by one',
    questions.flatMap((question, n) => (decide(question, facts).allowed ? [n] : [])),
    expected,
  );
  const filtered = compare(
    () => filter(query, facts).visible.length,
    () => {
      let visible = 0;
      for (const question of questions) if (look(maps, question)) visible++;
      return visible;
    },
    effort,
  );
  const looped = measure(() => {
    let visible = 0;
    for (const question of questions) if (decide(question, facts).allowed) visible++;
    return visible;
  }, effort);
  const row = comparedRow(scenario, filtered);
  const cells = { ...row.cells, 'Check in a loop': time(looped.medianNs) };
  if (!promised) return { scenario, cells };
  const met = filtered.medianNs <= FILTER_TARGET_MS * 1e6;
  return { scenario, cells, target: { text: `≤ ${FILTER_TARGET_MS} ms`, met } };
}

export const engineExplain: Scenario = {
  name: 'engine-explain',
  run({ effort }: RunOptions): Table {
    const world = buildWorld();
    const asked = requests('document');
    const facts = world.facts.resolve(requestAt(0), 0);
    const denied: Facts = { ...facts, subject: stranger() };
    const told = explain(requestAt(0), facts, world.facts.directory);
    assertAnswer('explain', [told.decision.reason, told.layers.length], ['ALLOWED', 9]);
    const refused = explain(requestAt(0), denied, world.facts.directory);
    assertAnswer('explain of a deny', refused.decision.reason, 'NO_GRANT');
    const run = (known: Facts): Timing =>
      measure(
        inTurn(asked, (request) => explain(request, known, world.facts.directory).layers.length),
        effort,
      );
    return {
      name: 'engine-explain',
      rows: [
        timedRow('Explain of an allow', run(facts)),
        timedRow('Explain of a deny, with what is missing', run(denied)),
      ],
    };
  },
};

function stranger(): SubjectFacts {
  return compileUser(
    'nobody',
    undefined,
    groupsOf({ roles: new Map(), workspaces: new Map() }, { roles: [], workspaces: [] }),
  );
}

/** What happens when facts change or come into the cache, not on a warm Check. */
export const engineCompile: Scenario = {
  name: 'engine-compile',
  run({ effort }: RunOptions): Table {
    const world = buildWorld();
    const set = ruleSet(1_000);
    const record = {
      id: KEY,
      role: 'default_deny',
      mode: 'enforce',
      policySets: [set.name],
    } as const;
    const key = (): KeyFacts => compileKey(record, [set]);
    assertAnswer('rules', key().enforced.named.size, 1_000);
    assertAnswer('catalog', compileCatalog(CATALOG).actions.size, 24);
    return {
      name: 'engine-compile',
      rows: [
        timedRow(
          'catalog of 24 actions',
          measure(() => compileCatalog(CATALOG), effort),
        ),
        timedRow('key with 1,000 rules', measure(key, effort)),
        timedRow('closure of 8 roles', measure(closure(world), effort)),
        timedRow('user with 5 grants, closure shared', measure(user(world), effort)),
      ],
    };
  },
};

function closure({ records }: World): Work {
  const directory = { roles: records.role, workspaces: records.workspace };
  const direct = { roles: ['role-0'], workspaces: ['studio'] };
  assertAnswer('closure', groupsOf(directory, direct).roles.size, ROLES.length);
  return () => groupsOf(directory, direct);
}

function user({ records }: World): Work {
  const groups = groupsOf(
    { roles: records.role, workspaces: records.workspace },
    { roles: ['role-0'], workspaces: [] },
  );
  const record = records.user.get(USER);
  assertAnswer('grants', compileUser(USER, record, groups).own.masks.size, 5);
  return () => compileUser(USER, record, groups);
}

function ruleSet(rules: number): PolicySetRecord {
  return {
    name: `${TENANT}-large`,
    mode: 'enforce',
    version: 1,
    rules: Array.from({ length: rules }, (_, n) => ({
      id: `rule-${n}`,
      effect: n % 2 === 0 ? ('allow' as const) : ('deny' as const),
      actions: [`area-${n}.read`],
      attributes: [['tenant', [`tenant-${n}`]] as const],
    })),
  };
}

function comparedRow(scenario: string, { floor, ratio, ...timing }: Compared): Row {
  const { cells } = timedRow(scenario, timing);
  return {
    scenario,
    cells: { ...cells, floor: time(floor.medianNs), 'ratio to floor': ratio.toFixed(2) },
  };
}

function timedRow(scenario: string, { medianNs, p99Ns }: Timing): Row {
  return {
    scenario,
    cells: { median: time(medianNs), p99: time(p99Ns), 'per second': perSecond(medianNs) },
  };
}

function perSecond(ns: number): string {
  return Math.round(1e9 / ns).toLocaleString('en-US');
}
