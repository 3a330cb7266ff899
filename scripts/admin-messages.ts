/** The messages of AdminService that come in, as TypeScript: written by the loader's own generator from the proto file, in one file. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { format } from 'prettier';

const ROOT = join(import.meta.dirname, '..');
const HEAD = `/** Made from proto/postern/v1/admin.proto by \`npm run gen\`: the requests of AdminService as the loader decodes them. */
import type { ProtoStruct as Struct } from '../../../util/proto-value.ts';
`;

/** The text of src/transport/grpc/admin/requests.ts. */
export async function adminMessages(): Promise<string> {
  const out = mkdtempSync(join(tmpdir(), 'postern-gen-'));
  try {
    const loader = dirname(
      createRequire(import.meta.url).resolve('@grpc/proto-loader/package.json'),
    );
    execFileSync(process.execPath, [
      join(loader, 'build/bin/proto-loader-gen-types.js'),
      '--keepCase',
      '--longs=Number',
      '--enums=String',
      '--defaults',
      '--arrays',
      // Only what is decoded is used; the other kind of types has another name.
      '--outputTemplate=%s',
      '--inputTemplate=%sInput',
      '--grpcLib=@grpc/grpc-js',
      `--includeDirs=${join(ROOT, 'proto')}`,
      `--outDir=${out}`,
      'postern/v1/admin.proto',
    ]);
    const made = new Map<string, string>();
    const service = readFileSync(join(out, 'postern/v1/AdminService.ts'), 'utf8');
    const calls = [
      ...service.matchAll(/^ {2}(\w+): MethodDefinition<\w+, \w+, _postern_v1_(\w+), /gm),
    ];
    const messages = calls.map(([, name = '', request = '']) => {
      addMessage(out, request, made);
      return `${name}: ${request};`;
    });
    const types = [...made].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
    const table = `/** The request of each call. */\nexport interface AdminRequests {\n${messages.join('\n')}\n}`;
    return await format(`${HEAD}\n${[table, ...types].join('\n\n')}\n`, {
      parser: 'typescript',
      singleQuote: true,
      printWidth: 100,
    });
  } finally {
    rmSync(out, { recursive: true });
  }
}

/** Adds a message, and all that it holds. */
function addMessage(out: string, name: string, made: Map<string, string>): void {
  if (made.has(name)) return;
  const text = readFileSync(join(out, 'postern/v1', `${name}.ts`), 'utf8');
  const [declaration] = new RegExp(`^export interface ${name} \\{[^]*?^\\}`, 'm').exec(text) ?? [];
  if (declaration === undefined) throw new Error(`no message ${name}`);
  const held = [...declaration.matchAll(/_postern_v1_(\w+)/g)].map(([, one = '']) => one);
  made.set(
    name,
    declaration
      .replace('export interface', 'interface')
      .replaceAll(/_postern_v1_|_google_protobuf_/g, '')
      .replaceAll(/^ {2}'/gm, "  readonly '"),
  );
  for (const one of held) addMessage(out, one, made);
}
