/** Runs policy tests on the engine: the facts of a state, each request, what was expected and what came. */
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { fromDefaults, toFacts } from './admin/state.ts';
import { contentOf, eventOf } from './audit/event.ts';
import { compileRedaction } from './audit/fields.ts';
import { parseCatalog } from './config/catalog.ts';
import { readSource, type Source } from './config/document.ts';
import {
  parsePolicyTest,
  toRequest,
  toResource,
  type CheckTest,
  type FilterTest,
  type PolicyTestFile,
} from './config/policy-test.ts';
import type { DefaultRole } from './config/roles.ts';
import { parseState, refused, type StateFile } from './config/state.ts';
import type { Catalog } from './engine/action.ts';
import { explain } from './engine/explain.ts';
import { filter } from './engine/filter.ts';
import type { Decision, Facts, Request } from './engine/model.ts';
import { staticFacts, type StaticFacts } from './facts/static.ts';

export interface TestResult {
  readonly suite: string;
  readonly name: string;
  /** Empty: it passed. Else each expectation that did not hold. */
  readonly failures: readonly string[];
}

/** A test file with its facts, ready to run. */
export interface LoadedSuite {
  readonly file: PolicyTestFile;
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
  return { file, state, catalog: own, facts: staticFacts(state.tenant, built.facts, own) };
}

/** Problems of a part of a file, at their places in the whole. */
function within(source: Source, key: string): Source['problem'] {
  return (path, message, severity) => source.problem([key, ...path], message, severity);
}

export function runSuite(suite: LoadedSuite): TestResult[] {
  return suite.file.tests.map((test) => ({
    suite: suite.file.name,
    name: test.name,
    failures: 'request' in test ? runCheck(suite, test) : runFilter(suite, test),
  }));
}

function runCheck({ state, facts }: LoadedSuite, { request: asked, expect }: CheckTest): string[] {
  const request = toRequest(asked, state.tenant, asked.resource);
  const known = facts.resolve(request);
  const { decision, missing } = explain(request, known, facts.directory);
  const { shadow } = decision;
  const shown =
    shadow === undefined
      ? 'none'
      : {
          allowed: shadow.reason === 'ALLOWED',
          differs: (shadow.reason === 'ALLOWED') !== decision.allowed,
        };
  const record = auditOf(request, known, decision);
  const texts = missing.map(({ text }) => text);
  return [
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

function runFilter({ state, facts }: LoadedSuite, { filter: asked, expect }: FilterTest): string[] {
  const { objects, offset = 0, limit = 0, ...caller } = asked;
  const request = toRequest(caller, state.tenant, undefined);
  const result = filter(
    { action: request.action, objects: objects.map(toResource), offset, limit },
    facts.resolve(request),
  );
  const ids = (indexes: readonly number[]): string[] =>
    indexes.map((index) => objects[index]?.id ?? '');
  return [
    ...compare('action_allowed', expect.action_allowed, result.actionAllowed),
    ...compare('reason', expect.reason, result.reason),
    ...compare('allowed_ids', expect.allowed_ids, ids(result.visible)),
    ...compare('complete', expect.complete, result.complete),
    ...compare('next_offset', expect.next_offset, result.nextOffset),
    ...compare('shadow_hidden', expect.shadow_hidden, ids(result.shadowHidden)),
    ...compare('shadow_shown', expect.shadow_shown, ids(result.shadowShown)),
  ];
}

function compare(field: string, expected: unknown, actual: unknown): string[] {
  return expected === undefined || isDeepStrictEqual(expected, actual)
    ? []
    : [`${field}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`];
}
