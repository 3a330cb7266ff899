/**
 * The Pod Security Standards of Kubernetes, profile `restricted`, which includes `baseline`: control by control as its
 * documentation lists them (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
 */
import { partsAt, type Part } from './support.ts';

const VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);
const SYSCTLS =
  /^(kernel\.shm_rmid_forced|net\.ipv4\.(ip_local_port_range|ip_unprivileged_port_start|tcp_syncookies|ping_group_range|ip_local_reserved_ports|tcp_keepalive_(time|intvl|probes)|tcp_fin_timeout|tcp_[rw]mem))$/;
const SELINUX_TYPES = new Set<unknown>([
  undefined,
  '',
  'container_t',
  'container_init_t',
  'container_kvm_t',
  'container_engine_t',
]);

/** What a pod does that the profile does not allow; empty: nothing. */
export function violations(pod: Part): string[] {
  const containers = ['initContainers', 'containers', 'ephemeralContainers'].flatMap((kind) =>
    partsAt(pod, `${kind}.*`),
  );
  const podContext = (pod['securityContext'] ?? {}) as Part;
  const found: string[] = [];
  const forbid = (control: string, isSo: boolean): void => void (isSo && found.push(control));

  for (const name of ['hostNetwork', 'hostPID', 'hostIPC'])
    forbid('host namespaces', pod[name] === true);
  for (const volume of partsAt(pod, 'volumes.*'))
    forbid(
      'volume types',
      Object.keys(volume).some((key) => key !== 'name' && !VOLUMES.has(key)),
    );
  for (const { name } of partsAt(podContext, 'sysctls.*'))
    forbid('sysctls', !SYSCTLS.test(String(name)));

  for (const context of [podContext, ...containers.map(contextOf)]) {
    const options = (context['seLinuxOptions'] ?? {}) as Part;
    const isStrange = !SELINUX_TYPES.has(options['type']);
    forbid('SELinux', isStrange || 'user' in options || 'role' in options);
    const appArmor = partsAt(context, 'appArmorProfile')[0]?.['type'];
    forbid('AppArmor', appArmor === 'Unconfined');
    forbid('host process', partsAt(context, 'windowsOptions')[0]?.['hostProcess'] === true);
    forbid('running as a user that is not root', context['runAsUser'] === 0);
    const seccomp = seccompOf(context);
    forbid('seccomp', seccomp !== undefined && !isConfined(seccomp));
  }
  for (const container of containers) {
    const context = contextOf(container);
    const { add = [], drop = [] } = (context['capabilities'] ?? {}) as {
      add?: string[];
      drop?: string[];
    };
    forbid('privileged', context['privileged'] === true);
    forbid('capabilities', !drop.includes('ALL'));
    forbid(
      'capabilities',
      add.some((name) => name !== 'NET_BIND_SERVICE'),
    );
    forbid('privilege escalation', context['allowPrivilegeEscalation'] !== false);
    forbid('running as no root', (context['runAsNonRoot'] ?? podContext['runAsNonRoot']) !== true);
    forbid('seccomp', !isConfined(seccompOf(context) ?? seccompOf(podContext)));
    forbid('/proc mount', (context['procMount'] ?? 'Default') !== 'Default');
    for (const { hostPort = 0 } of partsAt(container, 'ports.*'))
      forbid('host ports', hostPort !== 0);
    for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'])
      for (const action of ['httpGet', 'tcpSocket'])
        forbid(
          'host of probes',
          (partsAt(container, `${probe}.${action}`)[0]?.['host'] ?? '') !== '',
        );
  }
  return [...new Set(found)];
}

function contextOf(container: Part): Part {
  return (container['securityContext'] ?? {}) as Part;
}

function seccompOf(context: Part): unknown {
  return partsAt(context, 'seccompProfile')[0]?.['type'];
}

function isConfined(seccomp: unknown): boolean {
  return seccomp === 'RuntimeDefault' || seccomp === 'Localhost';
}
