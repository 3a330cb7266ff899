/** State files: everything that one tenant's facts are made of (`apply`, `export`, `--state`). */
import * as z from 'zod';
import type { Catalog } from '../engine/action.ts';
import { KEY_ROLES, USER_TYPES } from '../engine/model.ts';
import { knownId as id, json, level, mode, permission, treeAction, treePath } from './common.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { lintKey, lintPolicySet } from './lint.ts';
import { POLICY_LIMITS, type PolicyLimits } from './policy-limits.ts';
import { policySetBody, verifyPolicySet, type PolicySetBody } from './policy-set.ts';
import { timeProblem } from '../util/time.ts';
import { ConfigError, type Problem } from './problem.ts';

const ref = z.string().min(1).meta({
  description: 'user:alice, role:team, workspace:w1, or bare where only one of them exists',
});

const user = z.strictObject({
  id,
  external_id: z.string().optional(),
  email: z.string().optional(),
  type: z.enum(USER_TYPES).optional(),
  metadata: z.record(z.string(), json).optional(),
  superuser: z.boolean().optional(),
  createrole: z.boolean().optional(),
  suspended: z.boolean().optional(),
  deleted: z
    .boolean()
    .optional()
    .meta({ description: 'A tombstone: denied by every model (ACL-4)' }),
  roles: z.array(id).optional(),
  workspaces: z.array(id).optional(),
  admin_of: z.array(ref).optional().meta({
    description: 'Groups that it is a member of with the admin option: role:team, workspace:w1',
  }),
});

const creator = id
  .optional()
  .meta({ description: 'The user that created it, who manages its members (ADM-4)' });

const deleted = z.boolean().optional().meta({
  description: 'It existed once and exists no more: a tombstone has an id and no more (ADM-4)',
});

const role = z.strictObject({
  id,
  deleted,
  description: z.string().optional(),
  level: level.optional(),
  permissions: z.array(permission).optional(),
  system: z.boolean().optional(),
  members: z.array(ref).optional().meta({ description: 'Users and roles' }),
  roles: z.array(id).optional().meta({ description: 'Roles that this role is a member of' }),
  workspaces: z.array(id).optional(),
  creator,
});

const workspace = z.strictObject({
  id,
  deleted,
  description: z.string().optional(),
  creator,
  members: z.array(ref).optional().meta({ description: 'Users and roles' }),
});

const grant = z.strictObject({
  principal: ref,
  path: treePath,
  actions: z.array(treeAction).min(1),
  grantor: ref.optional(),
  grant_option: z
    .union([z.boolean(), z.array(treeAction)])
    .optional()
    .meta({ description: 'May be granted on: all the actions, or these of them' }),
});

const owner = z.strictObject({
  path: treePath,
  owner: ref,
  grantor: ref.optional().meta({
    description: 'The user by whose right it is: it falls with that right; absent: the operator',
  }),
});

const key = z.strictObject({
  id,
  description: z.string().optional(),
  role: z.enum(KEY_ROLES),
  mode,
  policy_sets: z.array(id).optional(),
  user: id.optional().meta({ description: 'The user on whose behalf the key acts' }),
  expires_at: z.iso
    .datetime({ offset: true })
    .check((context) => {
      const problem = timeProblem(context.value);
      if (problem !== undefined)
        context.issues.push({ code: 'custom', message: problem, input: context.value });
    })
    .optional()
    .meta({ description: 'RFC 3339: from then on the key is invalid' }),
  revoked: z.boolean().optional().meta({ description: 'Ended for good' }),
  rate_limit: z
    .strictObject({
      requests: z.int().min(1).max(1_000_000),
      per_seconds: z.int().min(1).max(86_400).optional(),
    })
    .optional()
    .meta({ description: 'Decisions in a time, a second if none is given' }),
});

const policySet = z.union([policySetBody, z.strictObject({ policy_set: policySetBody })]);

export const stateSchema = z
  .strictObject({
    tenant: id,
    users: z.array(user).optional(),
    roles: z.array(role).optional(),
    workspaces: z.array(workspace).optional(),
    grants: z.array(grant).optional(),
    owners: z.array(owner).optional(),
    policy_sets: z.array(policySet).optional(),
    keys: z.array(key).optional(),
  })
  .meta({ title: 'Postern tenant state' });

export type StateFile = z.input<typeof stateSchema>;

/** The body of a state's policy set, whichever of the two forms it is written in. */
export function bodyOf(entry: NonNullable<StateFile['policy_sets']>[number]): PolicySetBody {
  return 'policy_set' in entry ? entry.policy_set : entry;
}

/**
 * A state file, its policy sets checked against the catalog. References between its parts are checked
 * by `admin/state.ts`, which has the tenant's stored facts beside it.
 * @throws ConfigError
 */
export function parseState(
  source: Source,
  catalog: Catalog,
  limits: PolicyLimits = POLICY_LIMITS,
): StateFile {
  const state = parseAs(source, stateSchema);
  const problems = placedSets(state).flatMap(({ path, body }) =>
    verifyPolicySet(source, path, body, catalog, limits),
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return state;
}

/** What is wrong at a place of a state. */
export interface Finding {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Findings at their places in the file that they were found in. */
export function refused(source: Source, findings: readonly Finding[]): ConfigError {
  return new ConfigError(
    findings.map(({ path, message }) => source.problem(path, message)),
    true,
  );
}

/** Warnings of one state, from which on no more is looked for. */
const MAX_WARNINGS = 500;

/** Rules of attached sets that are looked at together with others, over all keys; a warning tells where it ends. */
const MAX_LINTED = 2_000_000;

/** Warnings on the state's policy sets and on how its keys combine them; keys with the same sets are looked at once. */
export function lintState(source: Source, state: StateFile, catalog: Catalog): Problem[] {
  const sets = placedSets(state).map((set) => ({ ...set, source }));
  const problems: Problem[] = [];
  for (const { path, body } of sets) {
    if (problems.length >= MAX_WARNINGS) {
      const rest = `there are ${MAX_WARNINGS} warnings already: this policy set and those after it are not looked at`;
      return [...problems, source.problem(path, rest, 'warning')];
    }
    problems.push(...lintPolicySet(source, path, body, catalog));
  }
  const byName = new Map(sets.map((set) => [set.body.name, set]));
  const seen = new Set<string>();
  let linted = 0;
  for (const [index, entry] of (state.keys ?? []).entries()) {
    const names = [...new Set(entry.policy_sets)];
    // A key that allows by default is named in its warnings.
    const looked = JSON.stringify([entry.role === 'default_allow' ? entry.id : '', names]);
    if (names.length === 0 || seen.has(looked)) continue;
    seen.add(looked);
    const attached = names.flatMap((name) => byName.get(name) ?? []);
    for (const { body } of attached) linted += body.rules.length;
    if (linted > MAX_LINTED) {
      const rest = `the policy sets of this key and of those after it are too many to be compared`;
      problems.push(source.problem(['keys', index], rest, 'warning'));
      break;
    }
    problems.push(...lintKey(entry, attached, catalog));
    if (problems.length < MAX_WARNINGS) continue;
    const rest = `there are ${MAX_WARNINGS} warnings already: keys after this one are not looked at`;
    problems.push(source.problem(['keys', index], rest, 'warning'));
    break;
  }
  return problems;
}

function placedSets(
  state: StateFile,
): { readonly path: readonly PropertyKey[]; readonly body: PolicySetBody }[] {
  return (state.policy_sets ?? []).map((entry, index) => ({
    path: ['policy_sets', index, ...('policy_set' in entry ? ['policy_set'] : [])],
    body: bodyOf(entry),
  }));
}
