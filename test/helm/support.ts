/** Helm, what it renders, and what Kubernetes says of it. `scripts/install-helm.sh` brings both. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parseAllDocuments } from 'yaml';
import { PACKAGE_ROOT } from '../support/package-root.ts';

export const CHART = join(PACKAGE_ROOT, 'helm/postern');
const TOOLS = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'postern-tools');

/** Any part of a manifest. */
export type Part = Readonly<Record<string, unknown>>;

export interface Manifest extends Part {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Record<string, string> };
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `POSTERN_HELM`, else the one that the script installed, else the one on the path. */
export const HELM = [process.env['POSTERN_HELM'] ?? '', newest('helm-'), 'helm'].find(
  (name) => name !== '' && spawnSync(name, ['version']).status === 0,
);

/** JSON Schemas of Kubernetes, a directory a version. */
export const SCHEMAS = newest('kubernetes-schemas-');

function newest(prefix: string): string {
  const names = existsSync(TOOLS) ? readdirSync(TOOLS) : [];
  const name = names
    .filter((each) => each.startsWith(prefix))
    .sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
    .at(-1);
  if (name === undefined) return '';
  return prefix === 'helm-' ? join(TOOLS, name, 'helm') : join(TOOLS, name);
}

export function helm(...args: readonly string[]): Ran {
  const { status, stdout, stderr } = spawnSync(HELM ?? 'helm', args, {
    encoding: 'utf8',
    cwd: PACKAGE_ROOT,
  });
  return { code: status, stdout, stderr };
}

/** What would be applied. @throws Error with what Helm says */
export function render(chart: string, ...args: readonly string[]): string {
  // Without a cluster Helm takes the version that it was built with, if that was said.
  const { code, stdout, stderr } = helm('template', 'postern', chart, ...KUBE_VERSION, ...args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

export const KUBE_VERSION = ['--kube-version', '1.34'];

export function manifestsOf(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/** The parts at a path; `*` is every item of a list. */
export function partsAt(part: unknown, path: string): Part[] {
  const [name = '', ...rest] = path.split('.');
  const found = name === '*' ? (part as unknown[]) : [(part as Part)[name]];
  return found
    .filter((each) => each !== undefined)
    .flatMap((each) => (rest.length === 0 ? [each as Part] : partsAt(each, rest.join('.'))));
}

/** The pod that a manifest makes, if it makes one. */
export function podOf(manifest: Manifest): Part | undefined {
  if (manifest.kind === 'Pod') return partsAt(manifest, 'spec')[0];
  return manifest.kind === 'Deployment' ? partsAt(manifest, 'spec.template.spec')[0] : undefined;
}

/** Files of the ConfigMap by where a pod finds them below /etc/postern. */
export function mountedFiles(manifests: readonly Manifest[]): Map<string, string> {
  const data = partsAt(
    manifests.find(({ kind }) => kind === 'ConfigMap'),
    'data',
  )[0] as Readonly<Record<string, string>>;
  const pods = manifests.map(podOf).filter((pod) => pod !== undefined);
  const items = pods.flatMap((pod) => partsAt(pod, 'volumes.*.configMap.items.*')) as {
    key: string;
    path: string;
  }[];
  return new Map(items.map(({ key, path }) => [path, data[key] ?? `no key ${key}`]));
}

/** Checks manifests against the schemas of one version of Kubernetes; unknown fields are errors. */
export function openValidator(version: string): (manifest: Manifest) => string[] {
  const directory = join(SCHEMAS, `${version}-local-strict`);
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  const definitions = readFileSync(join(directory, '_definitions.json'), 'utf8');
  ajv.addSchema(JSON.parse(definitions) as object, '_definitions.json');
  const compiled = new Map<string, ValidateFunction>();
  return (manifest) => {
    const [group = '', number] = manifest.apiVersion.split('/');
    const suffix = number === undefined ? group : `${group.split('.')[0]}-${number}`;
    const name = `${manifest.kind.toLowerCase()}-${suffix}.json`;
    if (!existsSync(join(directory, name))) return [`${manifest.kind}: no schema ${name}`];
    const known = compiled.get(name);
    const check =
      known ?? ajv.compile(JSON.parse(readFileSync(join(directory, name), 'utf8')) as object);
    compiled.set(name, check);
    const { kind } = manifest;
    check(manifest);
    return (check.errors ?? []).map(
      ({ instancePath, message = '', params }) =>
        `${kind}${instancePath}: ${message} ${JSON.stringify(params)}`,
    );
  };
}
