/** `grpc.reflection.v1`, loaded only where it is on: it brings a compiler for proto files. */
import { join } from 'node:path';
import type { Extra } from './server.ts';

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
