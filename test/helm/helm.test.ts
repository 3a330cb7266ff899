/**
 * The charts: what they render (golden files, written anew with POSTERN_UPDATE_GOLDEN=1), what Kubernetes and Postern
 * say of it, and what they refuse. It needs what `scripts/install-helm.sh` installs.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadSettings } from '../../src/config/settings/load-settings.ts';
import { postern, serve } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { violations } from './pod-security.ts';
import {
  CHART,
  HELM,
  helm,
  KUBE_VERSION,
  manifestsOf,
  mountedFiles,
  openValidator,
  partsAt,
  podOf,
  render,
  SCHEMAS,
  type Manifest,
  type Part,
} from './support.ts';

const GOLDEN = join(import.meta.dirname, 'golden');
const UPDATE = process.env['POSTERN_UPDATE_GOLDEN'] === '1';
const HOW = 'POSTERN_UPDATE_GOLDEN=1 writes it anew';
const VALUES = readdirSync(CHART)
  .filter((name) => /^values.*\.yaml$/.test(name))
  .sort();
const STANDALONE = VALUES.filter((name) => name !== 'values-sidecar.yaml');
/** The oldest that the chart allows, and the newest there is. */
const KUBERNETES = ['v1.29.0', 'v1.37.0'];
/** Of operators, which Kubernetes has no schemas for. */
const CUSTOM = new Set(['PodMonitor', 'ServiceMonitor']);

const missing = [
  ...(HELM === undefined ? ['helm'] : []),
  ...(SCHEMAS === '' ? ['the JSON Schemas of Kubernetes'] : []),
].join(' and ');
const isRequired = (process.env['CI'] ?? '') !== '' || process.env['POSTERN_REQUIRE_HELM'] === '1';
if (missing !== '' && !isRequired)
  process.stderr.write(
    `\ntest/helm is SKIPPED: ${missing} cannot be found: run scripts/install-helm.sh\n\n`,
  );

it('has what it needs, where it is required', () => {
  expect(isRequired ? missing : '', 'run scripts/install-helm.sh').toBe('');
});

describe('values.schema.json', () => {
  const file = join(CHART, 'values.schema.json');

  it('takes settings as they are, save what the chart sets itself', () => {
    const schema = JSON.parse(readFileSync(file, 'utf8')) as { definitions: Part };
    const wanted = {
      ...schema,
      definitions: { ...schema.definitions, settings: settingsSchema() },
    };
    if (UPDATE) writeFileSync(file, `${JSON.stringify(wanted, undefined, 2)}\n`);
    else expect(schema, 'npm run gen, then POSTERN_UPDATE_GOLDEN=1').toEqual(wanted);
  });

  it('knows every value, and allows no other', () => {
    const schema = JSON.parse(readFileSync(file, 'utf8')) as Part;
    const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Part;
    expect(Object.keys(partsAt(schema, 'properties')[0] ?? {}).sort()).toEqual(
      [...Object.keys(values), 'global'].sort(),
    );
    expect(open(schema, '')).toEqual([]);
  });
});

it('has the version of Postern', () => {
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  expect(parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'))).toMatchObject({
    appVersion: version,
  });
});

describe('the profile `restricted`', () => {
  const good: Part = {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
    ],
  };
  const container = (securityContext: Part, rest: Part = {}): Part => ({
    ...good,
    containers: [
      {
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          ...securityContext,
        },
        ...rest,
      },
    ],
  });

  it.each<[Part, string]>([
    [{ ...good, hostNetwork: true }, 'host namespaces'],
    [{ ...good, volumes: [{ name: 'x', hostPath: { path: '/' } }] }, 'volume types'],
    [{ ...good, securityContext: { runAsNonRoot: true } }, 'seccomp'],
    [{ ...good, initContainers: [{}] }, 'capabilities'],
    [container({ capabilities: { drop: ['NET_RAW'] } }), 'capabilities'],
    [container({ capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } }), 'capabilities'],
    [container({ privileged: true }), 'privileged'],
    [container({ allowPrivilegeEscalation: true }), 'privilege escalation'],
    [container({ runAsNonRoot: false }), 'running as no root'],
    [container({ runAsUser: 0 }), 'running as a user that is not root'],
    [container({ seccompProfile: { type: 'Unconfined' } }), 'seccomp'],
    [container({ procMount: 'Unmasked' }), '/proc mount'],
    [container({}, { ports: [{ hostPort: 80 }] }), 'host ports'],
  ])('does not allow %j', (pod, control) => {
    expect(violations(good)).toEqual([]);
    expect(violations(pod)).toContain(control);
  });
});

describe.skipIf(missing !== '')('the chart', () => {
  it.each(VALUES)('lints: %s', (name) => {
    const { code, stdout } = helm(
      'lint',
      '--strict',
      CHART,
      '-f',
      join(CHART, name),
      ...KUBE_VERSION,
    );
    expect([stdout, code]).toEqual([
      expect.stringContaining('1 chart(s) linted, 0 chart(s) failed'),
      0,
    ]);
    expect(stdout).not.toMatch(/\[(WARNING|ERROR)\]|Fail:/);
  });

  it.each(VALUES)('renders what it did: %s', (name) => {
    const text = render(CHART, '-f', join(CHART, name));
    expect(text, HOW).toBe(golden(name, text));
  });

  it.each(STANDALONE)('is what Kubernetes takes, restricted, and in itself whole: %s', (name) => {
    const manifests = manifestsOf(render(CHART, '-f', join(CHART, name)));
    expect(manifests.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['ConfigMap', 'Deployment', 'Service', 'ServiceAccount', 'Pod']),
    );
    expect(problemsOf(manifests)).toEqual([]);
  });

  it('would be told of a field that Kubernetes does not know', () => {
    const text = render(CHART).replace('revisionHistoryLimit: 5', 'revisionHistory: five');
    const problem = 'must NOT have additional properties {"additionalProperty":"revisionHistory"}';
    expect(problemsOf(manifestsOf(text))).toEqual(
      KUBERNETES.map((version) => `${version}: Deployment/spec: ${problem}`),
    );
    const unselected = render(CHART).replaceAll('targetPort: grpc', 'targetPort: rpc');
    expect(problemsOf(manifestsOf(unselected))).toEqual(['Service: no port rpc']);
  });

  it('makes what values ask for', () => {
    const all = manifestsOf(
      render(
        CHART,
        '-f',
        join(CHART, 'values-standalone.yaml'),
        '--set',
        'podMonitor.enabled=true',
      ),
    );
    expect(all.map(({ kind }) => kind).sort()).toEqual([
      'ConfigMap',
      'Deployment',
      'HorizontalPodAutoscaler',
      'NetworkPolicy',
      'Pod',
      'PodDisruptionBudget',
      'PodMonitor',
      'Service',
      'ServiceAccount',
    ]);
    const alone = ['replicas=1', 'store.type=embedded', 'store.embedded.persistence.enabled=true'];
    const kept = manifestsOf(render(CHART, '--set', alone.join()));
    expect(problemsOf(kept)).toEqual([]);
    expect(kept.map(({ kind }) => kind)).toContain('PersistentVolumeClaim');
    expect(partsAt(deploymentOf(kept), 'spec.strategy')).toEqual([{ type: 'Recreate' }]);
    const sidecar = manifestsOf(render(CHART, '-f', join(CHART, 'values-sidecar.yaml')));
    expect(sidecar.map(({ kind }) => kind)).toEqual(['ConfigMap']);
  });

  it('leaves ids to a platform that gives its own', () => {
    const ids = ['runAsUser', 'runAsGroup', 'fsGroup'].map((id) => `user.${id}=null`).join();
    const manifests = manifestsOf(render(CHART, '--set', ids));
    expect(JSON.stringify(manifests)).not.toMatch(/runAsUser|runAsGroup|fsGroup/);
    expect(problemsOf(manifests)).toEqual([]);
  });

  it('replaces pods when a file changes, and only then', () => {
    const checksum = (...args: string[]): unknown =>
      partsAt(
        deploymentOf(manifestsOf(render(CHART, ...args))),
        'spec.template.metadata.annotations',
      )[0]?.['checksum/config'];
    const before = checksum();
    expect(checksum('--set', 'replicas=5')).toBe(before);
    expect(checksum('--set', 'settings.log.level=warn')).not.toBe(before);
    expect(checksum('--set-file', 'files.actions=config/actions.yaml')).not.toBe(before);
  });

  it('keeps numbers as they are, and secrets out', () => {
    const settings = mountedFiles(
      manifestsOf(
        render(
          CHART,
          '--set',
          'settings.facts.cache_bytes=25165824,settings.facts.max_staleness_ms=120000',
        ),
      ),
    ).get('postern.yaml');
    expect(settings).toContain('cache_bytes: 25165824\n');
    expect(settings).toContain('max_staleness_ms: 120000\n');
    expect(settings).not.toMatch(/^store:/m);
  });

  it.each(STANDALONE)('gives Postern settings that it takes: %s', (name) => {
    const directory = laidOut(manifestsOf(render(CHART, '-f', join(CHART, name))));
    const { warnings } = loadSettings(
      join(directory, 'etc/postern/postern.yaml'),
      { POSTERN_STORE: 'redis://127.0.0.1:6379' },
      PACKAGE_ROOT,
    );
    const open = warnings.filter((warning) => !warning.startsWith('anyone who can connect'));
    expect(open).toEqual([]);
  });

  it('gives Postern a tenant that answers: values-dev.yaml', async () => {
    const manifests = manifestsOf(render(CHART, '-f', join(CHART, 'values-dev.yaml')));
    const directory = laidOut(manifests);
    const args = partsAt(deploymentOf(manifests), 'spec.template.spec.containers.*')[0]?.['args'];
    const server = await serve(
      (args as string[]).slice(1).map((arg) => arg.replace('/etc', `${directory}/etc`)),
      {
        environment: {
          POSTERN_CONFIG: join(directory, 'etc/postern/postern.yaml'),
          POSTERN_GRPC_ADDRESS: '127.0.0.1:0',
          POSTERN_HTTP_ADDRESS: '127.0.0.1:0',
        },
      },
    );
    try {
      const question = ['check', 'ben', 'write', 'work.projects.web', '--tenant', 'acme'];
      expect(await postern(question, { POSTERN_ADDRESS: server.grpc })).toMatchObject({
        code: 0,
        stderr: '',
      });
    } finally {
      await server.dispose();
    }
  });

  const redis = ['--set', 'store.redis.urlSecret.name='];
  const url = (address: string): string[] => [...redis, '--set', `store.redis.url=${address}`];
  const dev = ['-f', join(CHART, 'values-dev.yaml')];
  it.each<[string, readonly string[], RegExp]>([
    // What the schema refuses.
    ['a value that is none', ['--set', 'replica=3'], /additional properties 'replica' not allowed/],
    [
      'a nested one',
      ['--set', 'grpc.tls.secretName=x'],
      /at '\/grpc\/tls': additional properties 'secretName'/,
    ],
    ['a setting that is none', ['--set', 'settings.facts.max_stale=1'], /'max_stale' not allowed/],
    [
      'a setting of the chart',
      ['--set', 'settings.store=redis://x'],
      /at '\/settings': additional properties 'store'/,
    ],
    [
      'a word for a number',
      ['--set', 'replicas=many'],
      /at '\/replicas': got string, want integer/,
    ],
    ['no replica', ['--set', 'replicas=0'], /at '\/replicas': minimum: got 0, want 1/],
    [
      'another mode',
      ['--set', 'mode=daemonset'],
      /at '\/mode': value must be one of 'standalone', 'sidecar'/,
    ],
    ['another store', ['--set', 'store.type=postgres'], /at '\/store\/type': value must be one of/],
    [
      'an http url',
      url('http://redis'),
      /at '\/store\/redis\/url': 'http:\/\/redis' does not match pattern/,
    ],
    ['a digest that is none', ['--set', 'image.digest=latest'], /at '\/image\/digest'/],
    ['root', ['--set', 'user.runAsUser=0'], /at '\/user\/runAsUser': minimum: got 0, want 1/],
    ['loopback, for probes', ['--set', 'listen=127.0.0.1'], /at '\/listen': value must be one of/],
    ['a privileged port', ['--set', 'grpc.port=443'], /at '\/grpc\/port'/],
    ['a setting by its variable', ['--set', 'env[0].name=POSTERN_STORE'], /at '\/env\/0\/name'/],
    [
      'a migration without a number',
      ['--set', 'files.migrations.export\\.yaml=x'],
      /at '\/files\/migrations': additional properties 'export\.yaml'/,
    ],
    // What the chart refuses.
    ['no Redis', redis, /neither url nor urlSecret\.name is set: name the Redis/],
    [
      'two of them',
      ['--set', 'store.redis.url=redis://redis'],
      /both url and urlSecret\.name are set/,
    ],
    [
      'a password in a ConfigMap',
      url('redis://u:secret@redis'),
      /holds a password, and would stand in a ConfigMap/,
    ],
    [
      'a password of sentinels there',
      url('redis-sentinel://s/f?sentinel_password=x'),
      /holds a password/,
    ],
    [
      'a password for an address that has one',
      ['--set', 'store.redis.passwordSecret.name=x'],
      /has its own password/,
    ],
    [
      'TLS for plain Redis',
      [...url('redis://redis'), '--set', 'store.redis.tls.secret=x'],
      /url is not rediss:/,
    ],
    ['half a certificate', ['--set', 'store.redis.tls.cert=tls.crt'], /has one of cert and key/],
    [
      'embedded facts for two',
      [...dev, '--set', 'replicas=2'],
      /facts belong to one instance, and replicas is 2/,
    ],
    [
      'embedded facts for many',
      [...dev, '--set', 'autoscaling.enabled=true'],
      /autoscaling\.enabled makes more/,
    ],
    [
      'the clear by accident',
      ['--set', 'grpc.tls.secret='],
      /name a Secret of type kubernetes\.io\/tls/,
    ],
    ['both', ['--set', 'grpc.plaintext=true'], /both tls\.secret and plaintext are set/],
    [
      'administration in the clear',
      [...dev, '--set', 'admin.enabled=true'],
      /tokens would cross the network/,
    ],
    [
      'callers in the clear',
      [
        ...dev,
        '--set',
        `settings.grpc.callers[0].name=a,settings.grpc.callers[0].token_sha256=${'0'.repeat(64)}`,
      ],
      /their tokens would cross/,
    ],
    ['a token for nothing', ['--set', 'admin.tokenSecret.name=x'], /AdminService is off/],
    [
      'an end without notice',
      ['--set', 'settings.shutdown.lame_duck_ms=0'],
      /would still be sent to pods that end/,
    ],
    [
      'to be counted twice',
      ['--set', 'podMonitor.enabled=true,serviceMonitor.enabled=true'],
      /would count everything twice/,
    ],
    [
      'a Service of a sidecar',
      ['--set', 'mode=sidecar,serviceMonitor.enabled=true'],
      /a sidecar has no Service/,
    ],
    ['an old Kubernetes', ['--kube-version', '1.28'], /requires kubeVersion: >=1\.29/],
  ])('refuses %s', (_what, args, message) => {
    const { code, stderr } = helm('template', 'postern', CHART, ...KUBE_VERSION, ...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });
});

describe.skipIf(missing !== '')('the example of a sidecar', () => {
  let chart = '';

  beforeAll(() => {
    const directory = temporaryDirectory();
    cpSync(join(PACKAGE_ROOT, 'helm'), directory, { recursive: true });
    chart = join(directory, 'example-app');
    const { code, stderr } = helm('dependency', 'update', '--skip-refresh', chart);
    if (code !== 0) throw new Error(stderr);
  });

  it('lints', () => {
    const { code, stdout } = helm('lint', '--strict', chart, ...KUBE_VERSION);
    expect([stdout, code]).toEqual([expect.stringContaining('0 chart(s) failed'), 0]);
  });

  it('renders what it did, as Kubernetes takes it', () => {
    const text = render(chart);
    expect(text, HOW).toBe(golden('example-app.yaml', text));
    const manifests = manifestsOf(text);
    expect(manifests.map(({ kind }) => kind).sort()).toEqual([
      'ConfigMap',
      'Deployment',
      'PodMonitor',
    ]);
    expect(problemsOf(manifests)).toEqual([]);
  });

  it('has a native sidecar that the app finds by a socket of the same user', () => {
    const manifests = manifestsOf(render(chart));
    const pod = partsAt(deploymentOf(manifests), 'spec.template.spec')[0];
    const [sidecar] = partsAt(pod, 'initContainers.*');
    const [app] = partsAt(pod, 'containers.*');
    expect(sidecar).toMatchObject({ name: 'postern', restartPolicy: 'Always' });
    const settings = parse(mountedFiles(manifests).get('postern.yaml') ?? '') as Part;
    const [address] = partsAt(settings, 'grpc').map((grpc) => grpc['address']);
    expect(app?.['env']).toEqual([{ name: 'POSTERN_ADDRESS', value: address }]);
    expect(String(address)).toMatch(/^unix:\/run\/postern\//);
    const user = (part: unknown): unknown => partsAt(part, 'securityContext')[0]?.['runAsUser'];
    expect(user(sidecar)).toBe(user(pod));
    const shared = [sidecar, app].map(
      (each) =>
        partsAt(each, 'volumeMounts.*').find(({ mountPath }) => mountPath === '/run/postern')?.[
          'name'
        ],
    );
    expect(shared[0]).toBe(shared[1]);
    // Its volumes and ports stay out of the way of the app's own.
    for (const { name } of [...partsAt(pod, 'volumes.*'), ...partsAt(sidecar, 'ports.*')])
      expect(name).toMatch(/^postern-/);
  });

  it('gives Postern settings that it takes', () => {
    const directory = laidOut(manifestsOf(render(chart)));
    const file = join(directory, 'etc/postern/postern.yaml');
    const { warnings } = loadSettings(file, {}, PACKAGE_ROOT);
    expect(warnings).toEqual([]);
  });

  it('can mount Secrets that a user without a group of the pod reads', () => {
    const manifests = manifestsOf(
      render(
        chart,
        '--set',
        'postern.store.redis.urlSecret.name=,postern.store.redis.url=rediss://redis',
        '--set',
        'postern.store.redis.tls.secret=redis-tls,postern.store.redis.passwordSecret.name=redis-auth',
      ),
    );
    expect(problemsOf(manifests)).toEqual([]);
    const secrets = partsAt(deploymentOf(manifests), 'spec.template.spec.volumes.*.secret');
    expect(secrets.map(({ defaultMode }) => defaultMode)).toEqual([0o444, 0o444]);
  });

  it('tells that the dependency would be deployed besides', () => {
    const { code, stderr } = helm(
      'template',
      'x',
      chart,
      ...KUBE_VERSION,
      '--set',
      'postern.mode=standalone,postern.settings.shutdown.lame_duck_ms=1000',
    );
    expect([stderr, code]).toEqual([
      expect.stringContaining('set mode=sidecar for the dependency'),
      1,
    ]);
  });

  it('refuses what the schema of the dependency refuses', () => {
    const { code, stderr } = helm(
      'template',
      'x',
      chart,
      ...KUBE_VERSION,
      '--set',
      'postern.socket=/x',
    );
    expect([stderr, code]).toEqual([expect.stringContaining("'socket' not allowed"), 1]);
  });
});

describe.skipIf(missing !== '')('docs/kubernetes.md', () => {
  const text = readFileSync(join(PACKAGE_ROOT, 'docs/kubernetes.md'), 'utf8');
  const blocks = [...text.matchAll(/^```yaml\n# values: (\S+)\n([\s\S]*?)^```$/gm)];
  const commands = [...text.matchAll(/^helm (?:install|upgrade --install) ((?:.*\\\n)*.*)$/gm)];

  it.each(blocks.map(([, name = '', values = '']) => [name, values]))(
    'has values that the chart takes: %s',
    (_name, values) => {
      const file = join(temporaryDirectory(), 'values.yaml');
      writeFileSync(file, values);
      expect(problemsOf(manifestsOf(render(CHART, '-f', file)))).toEqual([]);
    },
  );

  it.each(commands.map(([, args = '']) => [args.replaceAll(/\s*\\\n\s*/g, ' ')]))(
    'has commands that render: helm install %s',
    (line) => {
      const [, chart = '', ...args] = line.split(/\s+/);
      expect(chart).toBe('helm/postern');
      expect(problemsOf(manifestsOf(render(chart, ...args)))).toEqual([]);
    },
  );

  it('has some', () => {
    expect([blocks.length, commands.length].map((count) => count > 0)).toEqual([true, true]);
  });
});

// ── what is asked of all manifests ──────────────────────────────────────────────────────────────

const validators = new Map<string, (manifest: Manifest) => string[]>();

/** What is wrong with them, by Kubernetes, its profile `restricted`, and what the parts say of each other. */
function problemsOf(manifests: readonly Manifest[]): string[] {
  const problems: string[] = [];
  for (const version of KUBERNETES) {
    const validate = validators.get(version) ?? openValidator(version);
    validators.set(version, validate);
    for (const manifest of manifests)
      if (!CUSTOM.has(manifest.kind))
        problems.push(...validate(manifest).map((problem) => `${version}: ${problem}`));
  }
  for (const manifest of manifests) {
    const pod = podOf(manifest);
    if (pod === undefined) continue;
    problems.push(...violations(pod).map((control) => `${manifest.kind}: ${control}`));
    problems.push(...unnamed(manifest.kind, pod));
  }
  problems.push(...mismatches(manifests));
  return problems;
}

/** Volumes and ports that a container names and the pod lacks, and what hardening the profile does not ask for. */
function unnamed(kind: string, pod: Part): string[] {
  const volumes = new Set(partsAt(pod, 'volumes.*').map(({ name }) => name));
  const problems: string[] = [];
  if (pod['automountServiceAccountToken'] !== false) problems.push(`${kind}: mounts a token`);
  for (const container of [...partsAt(pod, 'initContainers.*'), ...partsAt(pod, 'containers.*')]) {
    const ports = new Set(partsAt(container, 'ports.*').map(({ name }) => name));
    for (const { name } of partsAt(container, 'volumeMounts.*'))
      if (!volumes.has(name)) problems.push(`${kind}: no volume ${String(name)}`);
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
      for (const { port } of partsAt(container, `${probe}.httpGet`))
        if (!ports.has(port)) problems.push(`${kind}: no port ${String(port)}`);
    if (partsAt(container, 'securityContext')[0]?.['readOnlyRootFilesystem'] !== true)
      problems.push(`${kind}: the root file system can be written to`);
    if (partsAt(container, 'resources.limits')[0]?.['memory'] === undefined)
      problems.push(`${kind}: memory has no limit`);
  }
  return problems;
}

/** Selectors, ports, files and times that must agree. */
function mismatches(manifests: readonly Manifest[]): string[] {
  const problems: string[] = [];
  const deployment = deploymentOf(manifests);
  const [labels = {}] = partsAt(deployment, 'spec.template.metadata.labels');
  const [pod = {}] = partsAt(deployment, 'spec.template.spec');
  const ports = partsAt(pod, 'containers.*.ports.*');
  const selects = (what: string, selector: Part | undefined): void => {
    const isSo = Object.entries(selector ?? {}).every(([name, value]) => labels[name] === value);
    if (!isSo || selector === undefined) problems.push(`${what}: does not select the pods`);
  };
  for (const manifest of manifests) {
    const { kind } = manifest;
    if (kind === 'Service') selects(kind, partsAt(manifest, 'spec.selector')[0]);
    if (kind === 'NetworkPolicy')
      selects(kind, partsAt(manifest, 'spec.podSelector.matchLabels')[0]);
    if (['Deployment', 'PodDisruptionBudget', 'PodMonitor'].includes(kind))
      selects(kind, partsAt(manifest, 'spec.selector.matchLabels')[0]);
    for (const { targetPort } of kind === 'Service' ? partsAt(manifest, 'spec.ports.*') : [])
      if (!ports.some(({ name }) => name === targetPort))
        problems.push(`Service: no port ${String(targetPort)}`);
  }
  const files = mountedFiles(manifests);
  const data = partsAt(
    manifests.find(({ kind }) => kind === 'ConfigMap'),
    'data',
  )[0];
  if (files.size !== Object.keys(data ?? {}).length)
    problems.push('ConfigMap: a file is not mounted');
  const settings = parse(files.get('postern.yaml') ?? '') as {
    shutdown: { lame_duck_ms: number; grace_ms: number };
    http: { address: string };
    grpc: { address: string };
  };
  const { lame_duck_ms: lameDuck, grace_ms: grace } = settings.shutdown;
  if (Number(pod['terminationGracePeriodSeconds']) * 1_000 < lameDuck + grace + 5_000)
    problems.push('the pod is killed before Postern has ended');
  const all = [...ports, ...partsAt(pod, 'initContainers.*.ports.*')];
  for (const [name, { address }] of Object.entries({ http: settings.http, grpc: settings.grpc }))
    if (
      !/^(unix:|127\.)/.test(address) &&
      !all.some(
        (port) =>
          String(port['name']).endsWith(name) &&
          address.endsWith(`:${String(port['containerPort'])}`),
      )
    )
      problems.push(`${address} is no port of the pod`);
  return problems;
}

function deploymentOf(manifests: readonly Manifest[]): Manifest | undefined {
  return manifests.find(({ kind }) => kind === 'Deployment');
}

/** The files of a pod in a directory of this machine, with what stands in for Secrets and the image. */
function laidOut(manifests: readonly Manifest[]): string {
  const directory = temporaryDirectory();
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  };
  const here = (text: string): string =>
    text
      .replaceAll('/etc/postern-', `${directory}/etc/postern-`)
      .replaceAll('/opt/postern', PACKAGE_ROOT)
      .replaceAll('/var/lib/postern', `${directory}/data`);
  for (const [path, text] of mountedFiles(manifests)) write(`etc/postern/${path}`, here(text));
  write('etc/postern-admin/token', 'a-token-of-the-operator-for-this-test\n');
  return directory;
}

/** What it was; now it is `text`, if that is asked for. */
function golden(name: string, text: string): string {
  const file = join(GOLDEN, name);
  if (UPDATE) writeFileSync(file, text);
  return readFileSync(file, 'utf8');
}

// ── the schema of values ────────────────────────────────────────────────────────────────────────

/** What the chart says itself, of its own values. */
const OWNED = [
  'catalog',
  'default_roles',
  'migrations',
  'routes',
  'store',
  'http',
  'redis.password_file',
  'redis.tls',
  'grpc.address',
  'grpc.tls.cert',
  'grpc.tls.key',
  'grpc.tls.client_ca',
  'admin.enabled',
  'admin.token_file',
];

/** The schema of postern.yaml without what the chart owns. */
function settingsSchema(): object {
  const file = join(PACKAGE_ROOT, 'config/schema/postern.schema.json');
  const { $schema: _, title: __, ...schema } = JSON.parse(readFileSync(file, 'utf8')) as Part;
  for (const name of OWNED) {
    const path = name.split('.');
    let at: Part | undefined = schema;
    for (const part of path.slice(0, -1)) at = partsAt(at, `properties.${part}`)[0];
    const properties = at?.['properties'] as Record<string, unknown> | undefined;
    delete properties?.[path.at(-1) ?? ''];
  }
  return { description: 'More of postern.yaml, by its own names', ...schema };
}

/** Objects that take any name although their names are known. */
function open(schema: unknown, path: string): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { type, properties, additionalProperties } = schema as Part;
  // The items of lists of Kubernetes' own are its business.
  const isOpen =
    type === 'object' &&
    properties !== undefined &&
    additionalProperties === undefined &&
    !path.endsWith('items');
  return [
    ...(isOpen ? [path] : []),
    ...Object.entries(schema).flatMap(([name, part]) => open(part, `${path}/${name}`)),
  ];
}
