/** Paths of files that the settings name. */
import { isAbsolute, join } from 'node:path';
import { absoluteAudit } from '../audit.ts';
import type { Settings } from './settings-schema.ts';

/** The settings with every path absolute: paths are relative to the directory of the file that names them. */
export function withAbsolutePaths(settings: Settings, directory: string): Settings {
  const from = (path: string): string => (isAbsolute(path) ? path : join(directory, path));
  const { audit, redis, store, grpc, admin, identity } = settings;
  const file = (path: string | undefined): string | undefined => path && from(path);
  const { tls } = redis;
  return {
    ...settings,
    redis: {
      ...redis,
      password_file: file(redis.password_file),
      tls: { ...tls, ca: file(tls.ca), cert: file(tls.cert), key: file(tls.key) },
    },
    grpc: {
      ...grpc,
      tls: {
        ...grpc.tls,
        cert: file(grpc.tls.cert),
        key: file(grpc.tls.key),
        client_ca: file(grpc.tls.client_ca),
      },
    },
    admin: { ...admin, token_file: file(admin.token_file) },
    identity: {
      ...identity,
      jwt: identity.jwt.map((one) => ({ ...one, jwks_file: file(one.jwks_file) })),
    },
    routes: file(settings.routes),
    migrations: from(settings.migrations),
    catalog: from(settings.catalog),
    default_roles: from(settings.default_roles),
    store: store.startsWith('embedded:') ? `embedded:${from(store.slice(9))}` : store,
    facts: { ...settings.facts, snapshot_file: file(settings.facts.snapshot_file) },
    audit: absoluteAudit(audit, from),
  };
}
