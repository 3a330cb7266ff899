/** The token that proves the operator, whom AdminService lets do everything. */
import { readFileSync } from 'node:fs';
import { errorText } from '../../util/system-error.ts';
import { ConfigError } from '../problem.ts';
import type { Environment } from './environment.ts';
import type { Settings } from './settings-schema.ts';

/** Characters: shorter tokens are refused, or warned of, because they can be guessed. */
const SHORTEST_TOKEN = 8;
export const SHORT_TOKEN = 24;

/**
 * The operator's token, from the file that the settings name or from POSTERN_ADMIN_TOKEN; `undefined`: there is none.
 * @throws ConfigError where both are given, the file cannot be read, or the token cannot be used
 */
export function adminTokenOf(settings: Settings, environment: Environment): string | undefined {
  const { token_file: file } = settings.admin;
  const named = environment['POSTERN_ADMIN_TOKEN'];
  const wrong = (where: string, problem: string): ConfigError =>
    new ConfigError([
      { file: where, line: 1, column: 1, path: '', message: problem, severity: 'error' },
    ]);
  if (file !== undefined && named !== undefined)
    throw wrong('environment', 'POSTERN_ADMIN_TOKEN is set, and `admin.token_file` too: keep one');
  let token = named;
  if (file !== undefined)
    try {
      token = readFileSync(file, 'utf8').trim();
    } catch (error) {
      throw wrong(file, `cannot be read: ${errorText(error)}`);
    }
  if (token === undefined) return undefined;
  // Such a token arrives in no header: AdminService would be enabled, and open to nobody.
  if (/[^\x21-\x7e]/.test(token))
    throw wrong(
      file ?? 'environment',
      `the admin token holds a blank or a character beyond ASCII: give ${SHORT_TOKEN} random letters and digits or more`,
    );
  if (token.length < SHORTEST_TOKEN)
    throw wrong(
      file ?? 'environment',
      `the admin token has ${token.length} characters: give ${SHORT_TOKEN} random ones or more`,
    );
  return token;
}
