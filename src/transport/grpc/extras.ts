/** Standard services beside Postern's own: health, and reflection where it is asked for. */
import { join } from 'node:path';
import { HealthImplementation } from 'grpc-health-check';
import type { Extra } from './server.ts';

const SERVICES = ['', 'postern.v1.AuthorizationService'];

export interface Health {
  readonly extra: Extra;
  set(serving: boolean): void;
}

/** `grpc.health.v1.Health`, not serving until it is told. */
export function createHealth(): Health {
  const health = new HealthImplementation(
    Object.fromEntries(SERVICES.map((name) => [name, 'NOT_SERVING'])),
  );
  return {
    extra: (server) => health.addToServer(server),
    set(serving): void {
      for (const name of SERVICES) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
  };
}

/** `grpc.reflection.v1`, loaded only where it is on: it brings a compiler for proto files. */
export async function reflection(packageRoot: string): Promise<Extra> {
  const [{ ReflectionService }, { loadSync }] = await Promise.all([
    import('@grpc/reflection'),
    import('@grpc/proto-loader'),
  ]);
  const definition = loadSync('postern/v1/authorization.proto', {
    includeDirs: [join(packageRoot, 'proto')],
    keepCase: true,
  });
  return (server) => new ReflectionService(definition).addToServer(server);
}
