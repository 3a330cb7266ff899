/** Password and TLS files of a Redis, as the settings under `redis` name them. */
import { readFileSync } from 'node:fs';

/** PEM texts, as far as they are given. */
export interface TlsFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
}

/** The settings that name the files. */
export interface CredentialSettings {
  readonly password_file?: string | undefined;
  readonly tls: {
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
    readonly server_name?: string | undefined;
  };
}

/** @returns `undefined`: no file is named @throws Error where the file cannot be read */
export function readPassword({ password_file: file }: CredentialSettings): string | undefined {
  return readText('redis.password_file', file)?.trim();
}

/** @throws Error where a file cannot be read */
export function readTlsFiles({ tls }: CredentialSettings): TlsFiles {
  return {
    ca: readText('redis.tls.ca', tls.ca),
    cert: readText('redis.tls.cert', tls.cert),
    key: readText('redis.tls.key', tls.key),
    serverName: tls.server_name,
  };
}

function readText(option: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${option}: \`${file}\` cannot be read: name a file that is there`, {
      cause: error,
    });
  }
}
