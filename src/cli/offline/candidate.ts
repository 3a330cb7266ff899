/** The facts that a replay tries: of state files, or of the store that the settings name, with policy sets on trial. */
import { STATE_KINDS } from '../../admin/record-kinds.ts';
import { toFacts } from '../../admin/state/to-facts.ts';
import { fromDefaults, type TenantFacts } from '../../admin/state/tenant-facts.ts';
import { readSource } from '../../config/document.ts';
import { lintPolicySet } from '../../config/lint.ts';
import { parsePolicySet, toPolicySet } from '../../config/policy-set.ts';
import { formatProblem } from '../../config/problem.ts';
import { parseState, refused } from '../../config/state.ts';
import type { KeyRecord, PolicySetRecord } from '../../engine/records.ts';
import { staticFacts, type StaticFacts } from '../../offline/static-facts.ts';
import type { Candidate } from '../../offline/replay/replay-log.ts';
import { readAll } from '../../store/store.ts';
import { loadConfiguration, withStore, type Configuration } from '../kit/configuration.ts';
import { CliError, visible } from '../kit/output.ts';

export interface CandidateOptions {
  /** Settings: of them the catalog, the default roles and, without `state`, the store. */
  readonly config?: string;
  readonly state: readonly string[];
  /** Policy set files; each takes the place of the tenant's set of its name. */
  readonly policySet: readonly string[];
  /** Keys that get these sets. */
  readonly attach: readonly string[];
  /** Whose sets they are; the one state's tenant by default. */
  readonly tenant?: string;
  readonly packageRoot: string;
}

/** Changes the facts of a tenant as the options say. */
type Edit = (tenant: string, facts: TenantFacts) => TenantFacts;

/**
 * Runs with the candidate; facts of a store are read when a tenant is first asked for.
 * @throws ConfigError, CliError where a file is refused
 */
export async function withCandidate<T>(
  options: CandidateOptions,
  use: (candidate: Candidate) => Promise<T>,
): Promise<T> {
  const configuration = loadConfiguration(options.config, options.packageRoot);
  const { catalog } = configuration;
  if (options.state.length > 0) {
    const states = statesOf(configuration, options.state);
    const [only] = states.size === 1 ? states.keys() : [];
    const edit = editOf(configuration, options, options.tenant ?? only);
    const tenants = new Map(
      [...states].map(([tenant, facts]) => [
        tenant,
        staticFacts(tenant, edit(tenant, facts), catalog),
      ]),
    );
    return use((tenant) => tenants.get(tenant));
  }
  const edit = editOf(configuration, options, options.tenant);
  return withStore(configuration, 'refuse', async (store) => {
    const names = new Set(await store.tenants());
    const tenants = new Map<string, StaticFacts>();
    const load = async (tenant: string): Promise<StaticFacts> => {
      const { records } = await readAll(store, tenant, STATE_KINDS);
      // A tenant that was deleted decides nothing, whatever is still stored of it (ADM-9).
      if (records.tenant.get('')?.deleted === true) {
        tenants.set(tenant, nobody);
        return nobody;
      }
      const facts = staticFacts(tenant, edit(tenant, records), catalog);
      tenants.set(tenant, facts);
      return facts;
    };
    const nobody = staticFacts('', NO_FACTS, catalog);
    // A candidate that is refused is told of before the log is read.
    if (options.tenant !== undefined && names.has(options.tenant)) await load(options.tenant);
    return use((tenant) => (names.has(tenant) ? (tenants.get(tenant) ?? load(tenant)) : nobody));
  });
}

const NO_FACTS: TenantFacts = {
  tenant: new Map(),
  user: new Map(),
  role: new Map(),
  workspace: new Map(),
  owner: new Map(),
  policy_set: new Map(),
  key: new Map(),
  tombstone: new Map(),
};

/**
 * The facts of state files, by tenant.
 * @throws ConfigError, CliError where a file is refused
 */
export function statesOf(
  { catalog, defaults }: Pick<Configuration, 'catalog' | 'defaults'>,
  files: readonly string[],
): ReadonlyMap<string, TenantFacts> {
  const states = new Map<string, TenantFacts>();
  for (const file of files) {
    const source = readSource(file);
    const state = parseState(source, catalog);
    const built = toFacts(state, fromDefaults(defaults));
    if ('findings' in built) throw refused(source, built.findings);
    if (states.has(state.tenant))
      throw new CliError(`--state: \`${file}\` is the second of tenant \`${state.tenant}\``);
    states.set(state.tenant, built.facts);
  }
  return states;
}

/** @param target the tenant whose sets are on trial */
function editOf(
  { catalog }: Configuration,
  { policySet, attach }: CandidateOptions,
  target: string | undefined,
): Edit {
  if (policySet.length === 0) {
    if (attach.length > 0) throw new CliError('--attach: it needs --policy-set FILE');
    return (_tenant, facts) => facts;
  }
  if (target === undefined)
    throw new CliError('--policy-set: it is not said whose set this is: give --tenant NAME');
  const sets = policySet.map((file): PolicySetRecord => {
    const source = readSource(file);
    const body = parsePolicySet(source, catalog);
    for (const warning of lintPolicySet(source, ['policy_set'], body, catalog))
      process.stderr.write(`${formatProblem(warning)}\n`);
    if (body.mode !== 'enforce')
      process.stderr.write(
        `warning: policy set ${visible(body.name)} is ${body.mode} in \`${file}\`: it changes no answer; try it with \`mode: enforce\`\n`,
      );
    return toPolicySet(body);
  });
  return (tenant, facts) => (tenant === target ? withSets(tenant, facts, sets, attach) : facts);
}

function withSets(
  tenant: string,
  facts: TenantFacts,
  sets: readonly PolicySetRecord[],
  attach: readonly string[],
): TenantFacts {
  const names = sets.map(({ name }) => name);
  const key = new Map(facts.key);
  for (const id of attach) {
    const record = key.get(id);
    if (record === undefined)
      throw new CliError(`--attach: tenant \`${tenant}\` has no key \`${visible(id)}\``);
    key.set(id, { ...record, policySets: [...new Set([...record.policySets, ...names])] });
  }
  const attached = new Set([...key.values()].flatMap(({ policySets }: KeyRecord) => policySets));
  for (const name of names)
    if (!attached.has(name))
      throw new CliError(
        `--policy-set: \`${visible(name)}\` is attached to no key of tenant \`${tenant}\` and would change nothing: give --attach KEY`,
      );
  const policySets = new Map(facts.policy_set);
  for (const set of sets) policySets.set(set.name, set);
  return { ...facts, key, policy_set: policySets };
}
