/** From a canonical request to the route that is meant, and from the route to the question. */
import createRouter from 'find-my-way';
import {
  parsePathTemplate,
  type Route,
  type RoutesFile,
  type Segment,
} from '../../config/routes.ts';
import type { Scalar, Resource } from '../../engine/model.ts';
import type { Canonical } from './canonical.ts';
import type { HttpQuestion, Metadata } from './codec.ts';
import { capturesIgnoringCase, foldedRoutes } from './near-miss.ts';

export interface Matched {
  readonly route: Route;
  /** By name; of `{rest*}` the rest of the path, slashes included. */
  readonly captures: Readonly<Record<string, string | undefined>>;
}

/** It would mean a listed route to an upstream that folds paths. */
export interface NearMiss {
  readonly nearMiss: Route;
}

export type RouteTable = (
  request: Canonical,
  question: HttpQuestion,
) => Matched | NearMiss | undefined;

/** Routes, ready to be asked. */
export interface CompiledRoutes {
  readonly file: RoutesFile;
  readonly table: RouteTable;
}

export function compile(file: RoutesFile): CompiledRoutes {
  return { file, table: compileRoutes(file) };
}

/** @throws Error where two routes cannot stand beside each other */
export function compileRoutes({ routes }: RoutesFile): RouteTable {
  const exact = new ExactRoutes();
  const folded = foldedRoutes();
  for (const route of routes) {
    const segments = parsePathTemplate(route.match.path);
    if (typeof segments === 'string') throw new Error(`${route.match.path}: ${segments}`);
    for (const method of route.match.methods)
      for (const host of route.match.hosts ?? [undefined]) {
        folded.add(method, segments, host, route);
        exact.add(method, segments, host, route);
      }
  }
  /** A catch-all does not take what is a listed path but for a slash at its end. */
  const slashMiss = (
    matched: Matched | undefined,
    { method, path, host }: Canonical,
    question: HttpQuestion,
  ): Matched | NearMiss | undefined => {
    if (matched === undefined || !matched.route.match.path.endsWith('*}')) return matched;
    const near = folded
      .findSlashed(method, path, host)
      .filter(({ route }) => fits(route.match, question));
    const [nearest] = near;
    // The same route with and without the slash, or one of several at its place: nothing else is meant.
    if (nearest === undefined || near.some(({ route }) => route === matched.route)) return matched;
    return { nearMiss: nearest.route };
  };
  return (request, question) => {
    const { method, path, host } = request;
    const matched = exact.find(request, question);
    const near = folded.find(method, path, host).filter(({ route }) => fits(route.match, question));
    if (near.length === 0 || near.some(({ route }) => route === matched?.route))
      return slashMiss(matched, request, question);
    for (const { route, segments } of near) {
      if (route.match.case !== 'insensitive') continue;
      const captures = capturesIgnoringCase(path, segments);
      if (captures !== undefined) return { route, captures };
    }
    const [nearest] = near;
    return matched === undefined || nearest === undefined ? matched : { nearMiss: nearest.route };
  };
}

/** Routes by their paths as they are written. */
class ExactRoutes {
  readonly #router = createRouter({
    caseSensitive: true,
    ignoreTrailingSlash: false,
    // The bound of a path is the canonical form's, that of an id is ID-1.
    maxParamLength: Number.MAX_SAFE_INTEGER,
  });
  /** Routes that differ only in headers and context share a place, and are tried in the order of the file. */
  readonly #places = new Map<string, Route[]>();

  /** @throws Error where the route cannot stand beside another one */
  add(method: string, segments: readonly Segment[], host: string | undefined, route: Route): void {
    const path = `/${segments.map(segmentText).join('/')}`;
    const name = JSON.stringify([method, path, host]);
    const others = this.#places.get(name);
    if (others !== undefined) {
      others.push(route);
      return;
    }
    const here = [route];
    this.#places.set(name, here);
    this.#router.on(
      // The library's type lists the methods of Node; others it refuses by itself.
      method as 'GET',
      path,
      host === undefined ? {} : { constraints: { host } },
      () => {},
      { here, segments },
    );
  }

  find(request: Canonical, question: HttpQuestion): Matched | undefined {
    const found = this.#router.find(request.method as 'GET', request.path, { host: request.host });
    if (found === null) return undefined;
    // What `add` stored.
    const { here, segments } = found.store as {
      readonly here: readonly Route[];
      readonly segments: readonly Segment[];
    };
    if (!asWritten(request.path, segments)) return undefined;
    const route = here.find(({ match }) => fits(match, question));
    if (route === undefined) return undefined;
    const captures = Object.fromEntries(
      Object.entries(found.params).map(([name, value]) => [
        name === '*' ? restName(route) : name,
        value,
      ]),
    );
    return { route, captures };
  }
}

/**
 * Whether the plain segments of a route stand in the path as they are, and each capture holds something. The router
 * decodes before it compares, and it lets a capture be empty; the upstream may do neither.
 */
function asWritten(path: string, segments: readonly Segment[]): boolean {
  const parts = path.slice(1).split('/');
  return segments.every((segment, at) =>
    'literal' in segment
      ? parts[at] === segment.literal
      : parts[at] !== '' && parts[at] !== undefined,
  );
}

function segmentText(segment: Segment): string {
  if ('literal' in segment) return segment.literal;
  return segment.rest ? '*' : `:${segment.capture}`;
}

function restName({ match }: Route): string {
  return /\{([a-z0-9_]+)\*\}$/.exec(match.path)?.[1] ?? '*';
}

function fits({ headers = {}, context = {} }: Route['match'], question: HttpQuestion): boolean {
  return (
    Object.entries(headers).every(([name, value]) => {
      const values = question.headers.get(name);
      return values?.length === 1 && values[0] === value;
    }) && Object.entries(context).every(([name, value]) => question.context.get(name) === value)
  );
}

/** Why a route's templates make no question of a request. */
export class TemplateError extends Error {}

export interface Values {
  readonly captures: Matched['captures'];
  readonly question: HttpQuestion;
  readonly canonical: Canonical;
  /** Of the credential, before it is proven; the tenant's own facts prove it. */
  readonly credentialTenant: string | undefined;
}

/** @throws TemplateError where a value is missing */
export function render(text: string, values: Values): string {
  return text.replace(/\{([^{}]*)\}/g, (_all, name: string) => valueOf(name, values));
}

function valueOf(name: string, values: Values): string {
  const { captures, question, canonical, credentialTenant } = values;
  const value =
    captures[name] ??
    (name === 'method'
      ? canonical.method
      : name === 'host'
        ? canonical.host
        : name === 'credential.tenant'
          ? credentialTenant
          : name.startsWith('context.')
            ? question.context.get(name.slice('context.'.length))
            : name.startsWith('metadata.')
              ? metadataAt(question.metadata, name.slice('metadata.'.length).split('/'))
              : name.startsWith('route_metadata.')
                ? metadataAt(
                    question.routeMetadata,
                    name.slice('route_metadata.'.length).split('/'),
                  )
                : undefined);
  if (value === undefined) throw new TemplateError(`\`{${name}}\` has no value in this request`);
  return value;
}

/** A text at a place of metadata: `envoy.filters.http.jwt_authn`, `jwt`, `sub`. */
export function metadataAt(
  metadata: Metadata,
  [filter = '', ...way]: readonly string[],
): string | undefined {
  let at: unknown = metadata.get(filter);
  for (const step of way) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[step];
  }
  return typeof at === 'string' ? at : undefined;
}

const LABEL = /^[A-Za-z0-9_-]{1,255}$/;

/**
 * The resource that a route names.
 * @throws TemplateError where a value is missing, or would be more than one label of the tree path
 */
export function resourceOf({ resource = {} }: Route, values: Values): Resource {
  const { type = '', id = '', path, attributes = {} } = resource;
  const list = (text: string | readonly string[]): readonly Scalar[] =>
    (typeof text === 'string' ? [text] : text).map((one) => render(one, values));
  return {
    type: render(type, values),
    id: render(id, values),
    path: path === undefined ? undefined : treePath(path, values),
    attributes: new Map(Object.entries(attributes).map(([key, text]) => [key, list(text)])),
    sources: [],
  };
}

/** `work.docs.{id}`: what a capture holds is a label, that of `{rest*}` one label a segment, and never more. */
function treePath(template: string, values: Values): string {
  return template.replace(/\{([^{}]*)\}/g, (_all, name: string) => {
    const labels = valueOf(name, values).split('/');
    if (!labels.every((label) => LABEL.test(label)))
      throw new TemplateError(`\`{${name}}\` is not a label of a tree path`);
    if (labels.length > 1 && values.captures[name] === undefined)
      throw new TemplateError(`\`{${name}}\` is more than one label of a tree path`);
    return labels.join('.');
  });
}
