/** Errors of what a part of the settings opens, as errors of the settings file. */
import { ConfigError } from '../config/problem.ts';
import type { ServerOptions } from './running.ts';

/** Opens what a part of the settings says. @throws ConfigError that names the part */
export function ofSettings<T>(
  { settingsFile: file = 'settings' }: ServerOptions,
  path: string,
  open: () => T,
): T {
  try {
    return open();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ConfigError([{ file, line: 1, column: 1, path, message, severity: 'error' }]);
  }
}
