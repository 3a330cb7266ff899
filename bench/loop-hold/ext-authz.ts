/** `envoy.service.auth.v3.Authorization` with many routes, and with headers and a target as long as they may be. */
import { join } from 'node:path';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { PACKAGE_ROOT } from '../../test/support/package-root.ts';
import type { LimitCall } from './limit-call.ts';
import { TENANT } from './world.ts';

const CHECK = (
  loadSync('envoy/service/auth/v3/external_auth.proto', {
    includeDirs: [join(PACKAGE_ROOT, 'proto')],
    keepCase: true,
    defaults: true,
  })['envoy.service.auth.v3.Authorization'] as unknown as Readonly<
    Record<string, MethodDefinition<object, { readonly status?: { readonly code: number } }>>
  >
)['Check'];

const ROUTES = 5_000;
/** Of the message limit of 4 MiB. */
const HEADER_BYTES = 4_000_000;

/** As a file of routes says it. */
export function routesFile(): object {
  return {
    identity: [{ trusted_header: 'x-user', listeners: ['inside'] }],
    routes: Array.from({ length: ROUTES }, (_, at) => ({
      match: { methods: ['GET'], path: `/v1/kind${at}/{id}/parts/{part*}` },
      action: 'read',
      tenant: TENANT,
      resource: { type: `kind${at}`, id: '{id}', path: '{id}' },
    })),
  };
}

function request(path: string, headers: Readonly<Record<string, string>>): object {
  return {
    attributes: {
      request: {
        http: {
          method: 'GET',
          path,
          host: 'example.com',
          headers: { 'x-user': 'alice', ...headers },
        },
      },
      context_extensions: { postern_listener: 'inside' },
    },
  };
}

function check(what: string, message: () => object): LimitCall {
  return {
    rpc: 'ext_authz Check',
    what,
    prepare(client) {
      if (CHECK === undefined) throw new Error('there is no ext_authz Check');
      const bytes = CHECK.requestSerialize(message());
      return Promise.resolve({
        async run(): Promise<void> {
          const answer = CHECK.responseDeserialize(await client.raw(CHECK.path, bytes, 30_000));
          if (answer.status === undefined) throw new Error(`ext_authz: ${JSON.stringify(answer)}`);
        },
      });
    },
  };
}

export function extAuthzCalls(): LimitCall[] {
  const many = (count: number, bytes: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: count }, (_, at) => [`x-header-${at}`, 'v'.repeat(bytes / count)]),
    );
  return [
    check(`one of ${ROUTES.toLocaleString('en')} routes, a target of 8 KiB`, () =>
      request(`/v1/kind4999/one/parts/${'deep/'.repeat(1_600)}end`, {}),
    ),
    check('none of the routes, 4 MB in 50,000 headers', () =>
      request('/v2/none', many(50_000, HEADER_BYTES - 2_000_000)),
    ),
    check('4 MB in one header', () => request('/v1/kind7/one/parts/a', many(1, HEADER_BYTES))),
  ];
}
