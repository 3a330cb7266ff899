/** Environment variables that stand for a setting. */
import type * as z from 'zod';
import { ConfigError } from '../problem.ts';
import type { Source } from '../source.ts';
import type { Environment } from './environment.ts';
import { grpcAddress, httpAddress, settingsSchema, type Settings } from './settings-schema.ts';

/**
 * The settings with what environment variables say instead.
 * @throws ConfigError naming the variable, its value and what is allowed
 */
export function withVariables(
  settings: Settings,
  environment: Environment,
  source: Source,
): Settings {
  const grpc = environment['POSTERN_GRPC_ADDRESS'];
  const http = environment['POSTERN_HTTP_ADDRESS'];
  const level = environment['POSTERN_LOG_LEVEL'];
  for (const [name, value, schema] of [
    ['POSTERN_GRPC_ADDRESS', grpc, grpcAddress],
    ['POSTERN_HTTP_ADDRESS', http, httpAddress],
    ['POSTERN_LOG_LEVEL', level, settingsSchema.shape.log.unwrap().shape.level],
  ] as const)
    if (value !== undefined) mustFit(name, value, schema, source);
  return {
    ...settings,
    store: environment['POSTERN_STORE'] ?? settings.store,
    grpc: { ...settings.grpc, ...(grpc === undefined ? {} : { address: grpc }) },
    http: { ...settings.http, ...(http === undefined ? {} : { address: http }) },
    log: settingsSchema.shape.log.parse(level === undefined ? settings.log : { level }),
  };
}

/** @throws ConfigError */
function mustFit(name: string, value: string, schema: z.ZodType, source: Source): void {
  const result = schema.safeParse(value);
  if (result.success) return;
  const [issue] = result.error.issues;
  const why =
    issue?.code === 'invalid_value'
      ? `is none of ${issue.values.join(', ')}`
      : (issue?.message ?? 'is not usable');
  throw new ConfigError([
    { ...source.problem([], `${name}: \`${value}\` ${why}`), file: 'environment' },
  ]);
}
