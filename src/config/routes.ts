/** `routes.yaml`: how an HTTP request that Envoy asks about becomes a question (tenant, action, resource). */
import * as z from 'zod';
import { resolveAction, type Catalog } from '../engine/action.ts';
import { pathProblem } from '../engine/path.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { ConfigError, type Problem } from './problem.ts';

// Imported as a module, it would load all that it offers, an HTTP client of 3 MiB among it.
const { METHODS } = process.getBuiltinModule('node:http');

const header = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, 'is not a header name in lower case')
  .meta({ description: 'A header name in lower case' });

/**
 * Headers that a client sends and an upstream may believe: another path or method than the one that was decided on, or
 * that a proxy let the request through without a decision.
 */
export const REMOVED_HEADERS: readonly string[] = [
  'x-envoy-auth-failure-mode-allowed',
  'x-envoy-decorator-operation',
  'x-envoy-original-host',
  'x-envoy-original-method',
  'x-envoy-original-path',
  'x-forwarded-method',
  'x-forwarded-path',
  'x-forwarded-prefix',
  'x-forwarded-uri',
  'x-http-method',
  'x-http-method-override',
  'x-http-path-override',
  'x-method-override',
  'x-original-method',
  'x-original-uri',
  'x-original-url',
  'x-override-url',
  'x-rewrite-uri',
  'x-rewrite-url',
];

const template = z.string().meta({
  description:
    'Text with {capture}, {context.name}, {metadata.filter/field}, {route_metadata.namespace/field}, {credential.tenant}, {method} or {host}',
});

const identity = z.union([
  z.strictObject({ api_key: header }),
  z.strictObject({ bearer: header }),
  z.strictObject({ session: header }),
  z.strictObject({ session_cookie: z.string().min(1) }),
  z.strictObject({
    mtls: z.strictObject({
      prefix: z.string().min(1).meta({ description: 'What stands before the user id' }),
    }),
  }),
  z.strictObject({
    metadata: z.strictObject({
      filter: z.string().min(1),
      claim: z.array(z.string().min(1)).min(1).meta({ description: 'The way to the user id' }),
    }),
  }),
  z.strictObject({
    route_metadata: z.strictObject({
      namespace: z.string().min(1),
      claim: z.array(z.string().min(1)).min(1).meta({ description: 'The way to the user id' }),
    }),
  }),
  z.strictObject({
    trusted_header: header,
    listeners: z
      .array(z.string().min(1))
      .min(1)
      .meta({ description: 'Values of the context extension `postern_listener` that are trusted' }),
  }),
]);

const match = z.strictObject({
  methods: z.array(z.string().regex(/^[A-Z]+$/, 'is not a method in upper case')).min(1),
  path: z.string().meta({ description: '/v1/documents/{id}; {rest*} at the end takes the rest' }),
  case: z.enum(['sensitive', 'insensitive']).optional().meta({
    description: 'Whether plain segments match in capital letters as in small ones; sensitive',
  }),
  hosts: z.array(z.string().regex(/^[a-z0-9.:[\]_-]+$/, 'is not a host in lower case')).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  context: z.record(z.string(), z.string()).optional(),
});

const resource = z.strictObject({
  type: template.optional(),
  id: template.optional(),
  path: template.optional().meta({ description: 'Tree path; a capture is one label of it' }),
  attributes: z.record(z.string(), z.union([template, z.array(template)])).optional(),
});

const route = z.strictObject({
  match,
  public: z.boolean().optional().meta({ description: 'Passes without a decision' }),
  whole_body: z
    .boolean()
    .optional()
    .meta({ description: 'Refused where Envoy has seen a part of the body only' }),
  tenant: template.optional().meta({ description: '`{credential.tenant}` if it is left out' }),
  action: template.optional(),
  resource: resource.optional(),
});

export const routesSchema = z
  .strictObject({
    identity: z
      .array(identity)
      .optional()
      .meta({ description: 'Where identities are looked for; the first that is there counts' }),
    headers: z
      .strictObject({
        subject: header.optional(),
        tenant: header.optional(),
        key: header.optional(),
        decision: header.optional(),
      })
      .optional()
      .meta({ description: 'Names of the headers that tell the upstream who asks' }),
    forward_credentials: z
      .boolean()
      .optional()
      .meta({ description: 'Whether the upstream sees the credential; true' }),
    remove_headers: z.array(header).optional().meta({
      description:
        'Headers that never go upstream, instead of the default list: those that name another path or method, such as x-original-uri',
    }),
    failures: z.enum(['rpc_error', 'error_response']).optional().meta({
      description:
        'How Envoy is told that there is no decision: rpc_error, which it may ask elsewhere, or error_response, with a cause, for Envoy 1.37 and newer',
    }),
    routes: z.array(route),
  })
  .meta({ title: 'Postern HTTP routes' });

export type RoutesFile = z.input<typeof routesSchema>;
export type Route = RoutesFile['routes'][number];
export type IdentitySource = NonNullable<RoutesFile['identity']>[number];

/** `/v1/documents/{id}` as its segments. */
export type Segment =
  { readonly literal: string } | { readonly capture: string; readonly rest: boolean };

/** Without `%`: what has to be encoded is for captures. */
const LITERAL = /^[A-Za-z0-9\-._~!$&'+,=@]+$/;

/** @returns the segments, or what is wrong with the template */
export function parsePathTemplate(text: string): readonly Segment[] | string {
  if (!text.startsWith('/')) return 'does not begin with `/`';
  const names = new Set<string>();
  const segments: Segment[] = [];
  const parts = text.slice(1).split('/');
  for (const [index, part] of parts.entries()) {
    const [, capture, rest] = /^\{([a-z][a-z0-9_]*)(\*?)\}$/.exec(part) ?? [];
    if (capture === undefined) {
      const isRoot = part === '' && parts.length === 1;
      const isLast = part === '' && index === parts.length - 1;
      if (!isRoot && !isLast && !LITERAL.test(part))
        return `has a segment \`${part}\` that is neither plain text nor one \`{capture}\``;
      if (part.endsWith('.'))
        return `has a segment \`${part}\` that ends in a dot, which no request may have`;
      segments.push({ literal: part });
      continue;
    }
    if (names.has(capture)) return `captures \`${capture}\` twice`;
    if (capture === 'method' || capture === 'host')
      return `captures \`${capture}\`, which is the request's own: give it another name`;
    names.add(capture);
    if (rest === '*' && index !== parts.length - 1) return 'has `*` before its end';
    segments.push({ capture, rest: rest === '*' });
  }
  return segments;
}

/** The names in braces of a template. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/\{([^{}]*)\}/g)].map(([, name]) => name ?? '');
}

/** @throws ConfigError with everything that is wrong in the file */
export function parseRoutes(source: Source, catalog: Catalog): RoutesFile {
  const file = parseAs(source, routesSchema);
  const problems = [
    ...file.routes.flatMap((one, index) => verify(source, one, index, catalog)),
    ...conflicts(source, file.routes),
    ...headerProblems(source, file),
  ];
  const needs = file.routes.some((one) => one.public !== true);
  if (needs && (file.identity ?? []).length === 0)
    problems.push(
      source.problem(['identity'], 'is missing: name where identities are, or make routes public'),
    );
  if (problems.length > 0) throw new ConfigError(problems);
  return file;
}

/** Routes at one place of the path that cannot stand beside each other, or of which one is never reached. */
function conflicts(source: Source, routes: readonly Route[]): Problem[] {
  interface Taken {
    readonly index: number;
    readonly path: string;
    /** It takes every request that comes to its place. */
    readonly all: boolean;
  }
  const problems: Problem[] = [];
  const places = new Map<string, Taken>();
  for (const [index, { match }] of routes.entries()) {
    const shape = match.path.replace(/\{[^{}]*?(\*?)\}/g, '{$1}');
    const all = [match.headers, match.context].every((one) => Object.keys(one ?? {}).length === 0);
    const seen = new Set<number>();
    for (const method of match.methods)
      for (const host of match.hosts ?? ['']) {
        const place = JSON.stringify([method, host, shape]);
        const taken = places.get(place);
        if (taken === undefined || taken.index === index || !taken.all)
          places.set(place, { index, path: match.path, all });
        if (taken === undefined || taken.index === index || seen.has(taken.index)) continue;
        seen.add(taken.index);
        const where = `routes[${taken.index}] \`${taken.path}\``;
        if (taken.path !== match.path)
          problems.push(
            source.problem(
              ['routes', index, 'match', 'path'],
              `\`${match.path}\` is the path of ${where} with other names: give captures the same names in both`,
            ),
          );
        else if (taken.all)
          problems.push(
            source.problem(
              ['routes', index, 'match'],
              `is never reached: ${where} matches all \`${method}\` requests of this path; put it behind, or remove one`,
            ),
          );
      }
  }
  return problems;
}

function headerProblems(source: Source, { headers = {}, identity = [] }: RoutesFile): Problem[] {
  const known = new Set<string>();
  for (const one of identity) {
    if ('api_key' in one) known.add(one.api_key);
    if ('bearer' in one) known.add(one.bearer);
    if ('session' in one) known.add(one.session);
    if ('trusted_header' in one) known.add(one.trusted_header);
  }
  return Object.entries(headers).flatMap(([field, name = '']) => {
    if (known.has(name))
      return [
        source.problem(
          ['headers', field],
          `\`${name}\` is used twice: each identity header needs a different name`,
        ),
      ];
    known.add(name);
    return [];
  });
}

type Say = (path: readonly PropertyKey[], message: string) => void;

function verify(source: Source, route_: Route, index: number, catalog: Catalog): Problem[] {
  const problems: Problem[] = [];
  const say: Say = (path, message) => {
    problems.push(source.problem(['routes', index, ...path], message));
  };
  const segments = parsePathTemplate(route_.match.path);
  if (typeof segments === 'string') {
    say(['match', 'path'], `\`${route_.match.path}\` ${segments}`);
    return problems;
  }
  verifyMatch(route_.match, say);
  if (route_.public === true) verifyPublic(route_, say);
  else verifyQuestion(route_, segments, catalog, say);
  return problems;
}

function verifyMatch({ methods, hosts = [], headers = {} }: Route['match'], say: Say): void {
  for (const [at, method] of methods.entries())
    if (!METHODS.includes(method))
      say(['match', 'methods', at], `\`${method}\` is not a known HTTP method`);
  for (const [at, host] of hosts.entries())
    if (!isPlainHost(host))
      say(
        ['match', 'hosts', at],
        `\`${host}\` is not a canonical host: write it without the port, in its canonical spelling`,
      );
  for (const name of Object.keys(headers))
    if (name !== name.toLowerCase())
      say(['match', 'headers', name], 'is not in lower case: header names arrive so');
}

function verifyPublic(route_: Route, say: Say): void {
  for (const field of ['tenant', 'action', 'resource'] as const)
    if (route_[field] !== undefined)
      say(
        [field],
        'cannot be combined with `public: true`, which makes no decision: remove one of the two',
      );
}

/** What the route asks of Postern: its action, and the placeholders of its texts. */
function verifyQuestion(
  route_: Route,
  segments: readonly Segment[],
  catalog: Catalog,
  say: Say,
): void {
  if (route_.action === undefined)
    say([], 'has neither `action` nor `public: true`: give one of them');
  const captures = new Set(
    segments.flatMap((segment) => ('capture' in segment ? [segment.capture] : [])),
  );
  for (const [at, text] of textsOf(route_))
    for (const name of namesIn(text))
      if (!isPlaceholder(name, captures))
        say(
          at,
          `\`{${name}}\` is nothing: captures here are ${[...captures].join(', ') || 'none'}, others are context.NAME, metadata.FILTER/FIELD, route_metadata.NAMESPACE/FIELD, credential.tenant, method, host`,
        );
  const { action = '', resource: { type = '', path } = {} } = route_;
  const example = path?.replace(/\{[^{}]*\}/g, 'x');
  const wrong = example === undefined ? undefined : pathProblem(example);
  if (wrong !== undefined) say(['resource', 'path'], `\`${path ?? ''}\` ${wrong}`);
  const isFixed = action !== '' && namesIn(action).length === 0;
  if (isFixed && resolveAction(catalog, action, type) === undefined)
    say(['action'], `unknown action \`${action}\`: list it in the catalog, or use resource:verb`);
}

/** The texts of a route that may have placeholders, with their places. */
function textsOf({
  tenant,
  action,
  resource: { type, id, path, attributes = {} } = {},
}: Route): readonly (readonly [at: readonly PropertyKey[], text: string])[] {
  const lists = Object.entries(attributes).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map(
      (text) => [['resource', 'attributes', key], text] as const,
    ),
  );
  return [
    [['tenant'], tenant ?? ''],
    [['action'], action ?? ''],
    [['resource', 'type'], type ?? ''],
    [['resource', 'id'], id ?? ''],
    [['resource', 'path'], path ?? ''],
    ...lists,
  ];
}

function isPlaceholder(name: string, captures: ReadonlySet<string>): boolean {
  return (
    captures.has(name) ||
    ['method', 'host', 'credential.tenant'].includes(name) ||
    /^context\.[^\s]+$/.test(name) ||
    /^(route_)?metadata\.[^\s/]+(\/[^\s/]+)+$/.test(name)
  );
}

function isPlainHost(host: string): boolean {
  try {
    // An underscore and the like are no host of a certificate, and yet one of a cluster.
    return (
      !/:\d+$/.test(host.replace(/^\[.*\]/, '')) &&
      !/^\.|\.\.|\.$/.test(host) &&
      new URL(`http://${host}/`).hostname === host
    );
  } catch {
    return false;
  }
}
