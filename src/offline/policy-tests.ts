/** Runs policy tests on the engine: the facts of a state, each request, what was expected and what came. */
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { toFacts } from '../admin/state/to-facts.ts';
import { fromDefaults, type TenantFacts } from '../admin/state/tenant-facts.ts';
import { contentOf, eventOf } from '../audit/record/event.ts';
import { compileRedaction } from '../audit/record/redact.ts';
import { parseCatalog } from '../config/catalog.ts';
import { readSource } from '../config/document.ts';
import type { Source } from '../config/source.ts';
import {
  parsePolicyTest,
  toRequest,
  toResource,
  type CheckTest,
  type FilterTest,
  type PolicyTestFile,
} from '../config/policy-test.ts';
import type { DefaultRole } from '../config/roles.ts';
import { parseState, refused, type StateFile } from '../config/state.ts';
import type { Catalog } from '../engine/action.ts';
import { differs, type Decision, type Facts } from '../engine/decision.ts';
import { explain } from '../engine/explain.ts';
import type { Explanation } from '../engine/explanation.ts';
import { filter } from '../engine/filter.ts';
import type { Request } from '../engine/model.ts';
import { staticFacts, type StaticFacts } from './static-facts.ts';

export interface TestResult {
  readonly suite: string;
  readonly name: string;
  /** `file:line:column` of the test. */
  readonly place: string;
  /** Empty: it passed. Else each expectation that did not hold. */
  readonly failures: readonly string[];
  /** Of one that failed: what each layer of the decision said, and on what it rested. */
  readonly evidence: readonly string[];
}

/** A test file with its facts, ready to run. */
export interface LoadedSuite {
  readonly source: Source;
  readonly file: PolicyTestFile;
  /** The state's file, or this one: suites that share a state exercise the same facts. */
  readonly stateFile: string;
  readonly records: TenantFacts;
  readonly state: StateFile;
  readonly catalog: Catalog;
  readonly facts: StaticFacts;
}

/**
 * @param catalog the catalog of tests that name none
 * @throws ConfigError where the file, its state or its catalog is refused
 */
export function loadSuite(
  source: Source,
  catalog: Catalog,
  defaults: readonly DefaultRole[],
): LoadedSuite {
  const file = parsePolicyTest(source);
  const beside = (path: string): Source => readSource(resolve(dirname(source.file), path));
  const own = file.catalog === undefined ? catalog : parseCatalog(beside(file.catalog));
  const stateSource =
    typeof file.state === 'string'
      ? beside(file.state)
      : { ...source, value: file.state, problem: within(source, 'state') };
  const state = parseState(stateSource, own);
  const built = toFacts(state, fromDefaults(defaults));
  if ('findings' in built) throw refused(stateSource, built.findings);
  return {
    source,
    file,
    stateFile: stateSource.file,
    records: built.facts,
    state,
    catalog: own,
    facts: staticFacts(state.tenant, built.facts, own),
  };
}

/** Problems of a part of a file, at their places in the whole. */
function within(source: Source, key: string): Source['problem'] {
  return (path, message, severity) => source.problem([key, ...path], message, severity);
}

/** How tests are run. */
export interface RunOptions {
  /** Only tests whose `suite: name` it matches. */
  readonly only?: RegExp | undefined;
  /** The present, milliseconds since the epoch, for tests that name no time. */
  readonly now: number;
  /** Called for each stored fact that gave evidence, with its name. */
  readonly onExercised?: ((ref: string) => void) | undefined;
}

export function runSuite(suite: LoadedSuite, options: RunOptions): TestResult[] {
  const { file, source } = suite;
  return file.tests.flatMap((test, index) => {
    if (options.only?.test(`${file.name}: ${test.name}`) === false) return [];
    const named = test.now ?? file.now;
    const now = named === undefined ? options.now : Date.parse(named);
    const found =
      'request' in test ? runCheck(suite, test, now) : runFilter(suite, test, now, options);
    const evidence = found.explained.flatMap(({ layers }) => layers).flatMap(({ facts }) => facts);
    for (const { ref } of evidence) if (ref !== undefined) options.onExercised?.(ref);
    const { file: name, line, column } = source.problem(['tests', index], '');
    return [
      {
        suite: file.name,
        name: test.name,
        place: `${name}:${line}:${column}`,
        failures: found.failures,
        evidence: found.failures.length === 0 ? [] : found.explained.flatMap(evidenceOf),
      },
    ];
  });
}

interface Found {
  readonly failures: readonly string[];
  readonly explained: readonly Explanation[];
}

/** A line a layer, and below it what it rests on. */
function evidenceOf({ layers }: Explanation): string[] {
  return layers.flatMap(({ name, verdict, summary, facts }) => [
    `${VERDICT_MARK[verdict]} ${name}: ${summary}`,
    ...facts.map(({ text, chain = [] }) =>
      chain.length > 1 ? `    ${text}  [${chain.join(' → ')}]` : `    ${text}`,
    ),
  ]);
}

const VERDICT_MARK = { allow: '+', deny: '-', silent: '·' } as const;

function runCheck(
  { state, facts }: LoadedSuite,
  { request: question, expect }: CheckTest,
  now: number,
): Found {
  const request = toRequest(question, state.tenant, question.resource);
  const loaded = facts.resolve(request, now);
  const explained = explain(request, loaded, facts.directory);
  const { decision, missing } = explained;
  const { shadow } = decision;
  const shown =
    shadow === undefined
      ? 'none'
      : {
          allowed: shadow.reason === 'ALLOWED',
          differs: differs(decision, shadow),
        };
  const record = auditOf(request, loaded, decision);
  const texts = missing.map(({ text }) => text);
  const failures = [
    ...compare('allowed', expect.allowed, decision.allowed),
    ...compare('reason', expect.reason, decision.reason),
    ...compare('by', expect.by, decision.by),
    ...compare('shadow', expect.shadow, shown),
    ...Object.entries(expect.audit ?? {}).flatMap(([field, value]) =>
      compare(`audit.${field}`, value, record[field]),
    ),
    ...(expect.missing ?? [])
      .filter((text) => !texts.includes(text))
      .map((text) => `missing: expected \`${text}\` among ${JSON.stringify(texts)}`),
  ];
  return { failures, explained: [explained] };
}

/** The audit record of a test's decision; what only a running server knows is zero. */
function auditOf(
  request: Request,
  facts: Facts,
  decision: Decision,
): Readonly<Record<string, unknown>> {
  const { key, subject } = facts;
  const event = eventOf({
    decisionId: '',
    seq: 0,
    instance: '',
    time: '',
    requestId: '',
    api: 'check',
    revision: 0,
    durationUs: 0,
    sampleRate: 1,
  });
  const content = contentOf({
    request,
    subject: subject?.subject ?? request.subject,
    context: undefined,
    outcome: decision,
    shadow: decision.shadow,
    mode: typeof key === 'object' ? key.record.mode : undefined,
    objects: undefined,
    redact: compileRedaction({ attributes: false, rules: [], hashKey: undefined }),
  });
  // A record is always a JSON object: it was made as one.
  return JSON.parse(event + content) as Readonly<Record<string, unknown>>;
}

function runFilter(
  { state, facts }: LoadedSuite,
  { filter: question, expect }: FilterTest,
  now: number,
  options: RunOptions,
): Found {
  const { objects, offset = 0, limit = 0, ...caller } = question;
  const request = toRequest(caller, state.tenant, undefined);
  const loaded = facts.resolve(request, now);
  const resources = objects.map(toResource);
  const result = filter({ action: request.action, objects: resources, offset, limit }, loaded);
  const ids = (indexes: readonly number[]): string[] =>
    indexes.map((index) => objects[index]?.id ?? '');
  const failures = [
    ...compare('action_allowed', expect.action_allowed, result.actionAllowed),
    ...compare('reason', expect.reason, result.reason),
    ...compare('allowed_ids', expect.allowed_ids, ids(result.visible)),
    ...compare('complete', expect.complete, result.complete),
    ...compare('next_offset', expect.next_offset, result.nextOffset),
    ...compare('shadow_hidden', expect.shadow_hidden, ids(result.shadowHidden)),
    ...compare('shadow_shown', expect.shadow_shown, ids(result.shadowShown)),
  ];
  const isExplained = failures.length > 0 || options.onExercised !== undefined;
  const explained = (isExplained ? resources : []).map((resource) =>
    explain({ ...request, resource }, loaded, facts.directory),
  );
  return { failures, explained };
}

function compare(field: string, expected: unknown, actual: unknown): string[] {
  return expected === undefined || isDeepStrictEqual(expected, actual)
    ? []
    : [`${field}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`];
}
