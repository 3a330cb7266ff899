/**
 * `postern.v1.AdminService`: two translations around one call of `admin/`, nothing else. Its calls are rare, so that
 * the loader's own codec serves them; it is loaded where the service is enabled.
 */
import { join } from 'node:path';
import {
  loadPackageDefinition,
  type sendUnaryData,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import type { AdminRequest } from '../../admin/admin-contract.ts';
import { applying } from './admin/apply.ts';
import {
  fromWire,
  readable,
  toWire,
  UNREADABLE,
  unreadable,
  type LoadedMethod,
} from './admin/messages.ts';
import { callerOf, type AdminServiceOptions } from './admin/options.ts';
import { asRpcError } from './admin/refusals.ts';
import { exporting, watching } from './admin/streams.ts';
import { toServiceError } from './handlers.ts';
import type { Extra } from './server.ts';

export { ADMIN_PATHS, judgeAdmin } from './admin/refusals.ts';

export async function adminService(options: AdminServiceOptions): Promise<Extra> {
  const definition = await load('postern/v1/admin.proto', {
    includeDirs: [join(options.packageRoot, 'proto')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
  });
  const loaded = loadPackageDefinition(definition) as unknown as {
    postern: {
      v1: {
        AdminService: {
          service: Record<string, LoadedMethod>;
        };
      };
    };
  };
  const service = Object.fromEntries(
    Object.entries(loaded.postern.v1.AdminService.service).map(([name, method]) => [
      name,
      { ...method, requestDeserialize: readable(method) },
    ]),
  );
  const implementation: UntypedServiceImplementation = {};
  for (const [name, { requestStream, responseStream }] of Object.entries(service))
    if (!requestStream && !responseStream) implementation[name] = unary(name, options);
  implementation['Apply'] = applying(options);
  implementation['Export'] = exporting(options);
  implementation['WatchChanges'] = watching(options);
  // The loader's definition is what `addService` takes; its own types do not say so.
  return (server) => server.addService(service as never, implementation);
}

function unary(name: string, { admin, authenticate, onError }: AdminServiceOptions) {
  const answer = async ({
    request: message,
    metadata,
  }: ServerUnaryCall<AdminRequest, object>): Promise<object> => {
    if (message === UNREADABLE) throw unreadable();
    const actor = await authenticate(callerOf(metadata, message.tenant ?? ''));
    return toWire(await admin.call(name, actor, fromWire(message)));
  };
  return (call: ServerUnaryCall<AdminRequest, object>, reply: sendUnaryData<object>): void => {
    answer(call).then(
      (wire) => reply(null, wire),
      (error: unknown) => reply(toServiceError(asRpcError(error), onError)),
    );
  };
}
