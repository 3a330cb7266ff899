/** Paths that an upstream may fold into a listed one: none of them passes by a catch-all; routes say if case matters. */
import { describe, expect, it } from 'vitest';
import type { RoutesFile } from '../../src/config/routes.ts';
import { canonicalRequest } from '../../src/transport/ext-authz/canonical.ts';
import type { HttpQuestion } from '../../src/transport/ext-authz/codec.ts';
import { compileRoutes } from '../../src/transport/ext-authz/routes.ts';

const QUESTION: HttpQuestion = {
  id: '',
  method: '',
  path: '',
  host: '',
  headers: new Map(),
  principal: '',
  context: new Map(),
  metadata: new Map(),
  routeMetadata: new Map(),
};

type Match = RoutesFile['routes'][number]['match'];

/** The path of the route that takes a request, with captures; `near`, `none` or `refused`: none does. */
function taker(
  routes: readonly Omit<Match, 'methods'>[],
  path: string,
  host = 'h',
  headers: HttpQuestion['headers'] = new Map(),
): string {
  const table = compileRoutes({
    routes: routes.map((match) => ({ match: { methods: ['GET'], ...match }, public: true })),
  });
  const request = canonicalRequest({ method: 'GET', path, host });
  if ('problem' in request) return 'refused';
  const found = table(request, { ...QUESTION, headers });
  if (found === undefined) return 'none';
  if ('nearMiss' in found) return `near ${found.nearMiss.match.path}`;
  const captures = Object.values(found.captures).join(',');
  return captures === '' ? found.route.match.path : `${found.route.match.path} ${captures}`;
}

const CATCH_ALL = { path: '/{rest*}' };
const ADMIN = { path: '/admin' };

describe('a path that is a listed one but for what an upstream may fold', () => {
  it.each([
    '/Admin',
    '/ADMIN',
    '/aDmIn?x=1',
    '/admin%20',
    '/%20admin',
    '/ad%20min',
    '/admin%C2%A0',
    '/admin%E3%80%80',
    '/admin%E2%80%8B',
    '/%EF%BB%BFadmin',
    // Not seen either: a soft hyphen, a joiner, a variation selector, a filler, a vowel separator.
    '/ad%C2%ADmin',
    '/ad%CD%8Fmin',
    '/admin%EF%B8%8F',
    '/admin%E1%85%9F',
    '/%E1%A0%8Badmin',
    '/admin%F3%A0%84%80',
    '/%EF%BD%81dmin',
    '/%EF%BC%A1DMIN',
    '/%F0%9D%90%9Admin',
    '/adm%C4%B1n',
    '/adm%C4%B0n',
    '/%E2%93%90dmin',
  ])('%s is refused where a catch-all would take it', (path) => {
    expect(taker([ADMIN, CATCH_ALL], path)).toMatch(/^(near \/admin|refused)$/);
    // Without a route it is none, as before.
    expect(taker([ADMIN], path)).toMatch(/^(none|refused)$/);
  });

  it.each([
    ['/admin/', [ADMIN, CATCH_ALL], 'near /admin'],
    ['/Admin/', [ADMIN, CATCH_ALL], 'near /admin'],
    ['/admin/%20', [ADMIN, CATCH_ALL], 'near /admin'],
    ['/admin%20/', [ADMIN, CATCH_ALL], 'near /admin'],
    ['/admin/?x=/', [ADMIN, CATCH_ALL], 'near /admin'],
    ['/admin', [{ path: '/admin/' }, CATCH_ALL], 'near /admin/'],
    ['/ADMIN', [{ path: '/admin/' }, CATCH_ALL], 'near /admin/'],
    ['/admin/', [{ path: '/admin/' }, ADMIN, CATCH_ALL], '/admin/'],
    ['/admin', [{ path: '/admin/' }, ADMIN, CATCH_ALL], '/admin'],
    ['/users/5/', [{ path: '/users/{id}' }, CATCH_ALL], 'near /users/{id}'],
    // A capture that would hold nothing is no route.
    ['/users/', [{ path: '/users' }, { path: '/users/{id}' }, CATCH_ALL], 'none'],
    ['/admin/', [{ path: '/admin/{rest*}' }, CATCH_ALL], 'none'],
    ['/a/b/', [{ path: '/a/{rest*}' }, CATCH_ALL], '/a/{rest*} b/'],
    ['/a/admin/', [{ path: '/a/admin' }, { path: '/a/{rest*}' }, CATCH_ALL], 'near /a/admin'],
    ['/admin/', [ADMIN], 'none'],
    ['/other/', [ADMIN, CATCH_ALL], '/{rest*} other/'],
    ['/other', [ADMIN, CATCH_ALL], '/{rest*} other'],
    ['/', [ADMIN, CATCH_ALL], 'none'],
    // Another route with a slash makes no route of a capture that would be empty.
    ['/users', [{ path: '/users/{id}' }, { path: '/b/' }, CATCH_ALL], '/{rest*} users'],
    ['/a', [{ path: '/a/{rest*}' }, { path: '/b/' }, CATCH_ALL], '/{rest*} a'],
    ['/b', [{ path: '/users/{id}' }, { path: '/b/' }, CATCH_ALL], 'near /b/'],
  ] as const)('%s: a slash at the end makes no other route of it', (path, routes, wanted) => {
    expect(taker(routes, path)).toBe(wanted);
  });

  it('a slash at the end is no other route where several share a place', () => {
    const routes = [{ ...CATCH_ALL, headers: { 'x-beta': '1' } }, CATCH_ALL];
    const beta = new Map([['x-beta', ['1']]]);
    expect(taker(routes, '/foo/', 'h', beta)).toBe('/{rest*} foo/');
    expect(taker(routes, '/foo/')).toBe('/{rest*} foo/');
    expect(taker([ADMIN, ...routes], '/admin/', 'h', beta)).toBe('near /admin');
  });

  it.each([
    ['/files/K', [{ path: '/files/{name}' }, CATCH_ALL], '/files/{name} K'],
    ['/Files/K', [{ path: '/files/{name}' }, CATCH_ALL], 'near /files/{name}'],
    ['/users/ME', [{ path: '/users/me' }, { path: '/users/{id}' }], 'near /users/me'],
    ['/users/bob', [{ path: '/users/me' }, { path: '/users/{id}' }], '/users/{id} bob'],
    ['/API/v1/x', [{ path: '/API/v1/{x}' }, CATCH_ALL], '/API/v1/{x} x'],
    ['/api/v1/x', [{ path: '/API/v1/{x}' }, CATCH_ALL], 'near /API/v1/{x}'],
    // A Kelvin sign is not in normal form.
    ['/%E2%84%AAey', [{ path: '/key' }, CATCH_ALL], 'refused'],
    ['/%C5%BFecret', [{ path: '/secret' }, CATCH_ALL], 'near /secret'],
    ['/ma%C3%9F', [{ path: '/mass' }, CATCH_ALL], 'near /mass'],
    ['/other', [ADMIN, CATCH_ALL], '/{rest*} other'],
    ['/Other/%C3%A9', [ADMIN, CATCH_ALL], '/{rest*} Other/é'],
    ['/Admin', [{ path: '/Admin' }, ADMIN, CATCH_ALL], '/Admin'],
    ['/admin', [{ path: '/Admin' }, ADMIN, CATCH_ALL], '/admin'],
    ['/ADMIN', [{ path: '/Admin' }, ADMIN, CATCH_ALL], 'near /Admin'],
    ['/admin/users/1', [{ path: '/admin/{rest*}' }, CATCH_ALL], '/admin/{rest*} users/1'],
    ['/Admin/users/1', [{ path: '/admin/{rest*}' }, CATCH_ALL], 'near /admin/{rest*}'],
  ])('%s: %o', (path, routes, expected) => {
    expect(taker(routes, path)).toBe(expected);
  });

  it('by the host of the route, too', () => {
    const routes = [{ path: '/admin', hosts: ['a.example'] }, CATCH_ALL];
    expect(taker(routes, '/Admin', 'a.example')).toBe('near /admin');
    expect(taker(routes, '/Admin', 'b.example')).toBe('/{rest*} Admin');
  });
});

describe('case: insensitive', () => {
  it.each([
    ['/ADMIN', 'insensitive', '/admin'],
    ['/Admin', 'insensitive', '/admin'],
    ['/admin', 'insensitive', '/admin'],
    ['/Admin%20', 'insensitive', 'near /admin'],
    ['/%EF%BC%A1dmin', 'insensitive', 'near /admin'],
    ['/ADMIN', 'sensitive', 'near /admin'],
  ] as const)('%s on a route that is %s', (path, kind, expected) => {
    expect(taker([{ path: '/admin', case: kind }, CATCH_ALL], path)).toBe(expected);
  });

  it('captures keep their case, and are never empty', () => {
    const routes = [{ path: '/Docs/{id}/Parts/{rest*}', case: 'insensitive' as const }];
    expect(taker(routes, '/DOCS/AbC/parts/X/y')).toBe('/Docs/{id}/Parts/{rest*} AbC,X/y');
    expect(taker(routes, '/docs/a%20B/PARTS/x')).toBe('/Docs/{id}/Parts/{rest*} a B,x');
    expect(taker(routes, '/DOCS/AbC/parts/')).toBe('none');
  });
});
