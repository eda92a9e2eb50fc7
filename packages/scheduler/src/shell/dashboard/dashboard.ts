import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { FarmError } from '@farm/protocol';
import type { Logger, SchedulerInfo } from '@farm/protocol';

import { checkAccess } from './access.ts';
import { PAGE_CSS, PAGE_HTML, PAGE_JS } from './page.ts';

/** How many ports after a busy one are tried. */
const PORTS_TRIED = 20;

/** What a dashboard needs. */
export interface DashboardOptions {
  readonly host: string;
  /** 0 means any free port. A busy port is a warning and the next one is tried. */
  readonly port: number;
  /** Guards every route. */
  readonly token: string;
  /** The state to show, asked for at each request. */
  readonly info: () => SchedulerInfo;
  readonly logger: Logger;
}

/**
 * The scheduler's HTTP side: `/health`, `/api/v1/{info,counts,workers}` as JSON and one page,
 * `/status`. All routes only read, and all need the token.
 */
export class Dashboard implements AsyncDisposable {
  readonly #server: Server;
  /** Where it listens. */
  readonly port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /**
   * Listens on the asked port, or on the next free one.
   *
   * @throws FarmError `ERR_ADDRESS` where the host is not this machine's, or no port is free.
   */
  static async listen(options: DashboardOptions): Promise<Dashboard> {
    const server = createServer({ maxHeaderSize: 16_384 }, (request, response) => {
      answer(options, request, response);
    });
    server.headersTimeout = 10_000;
    server.requestTimeout = 10_000;
    const last = options.port === 0 ? 0 : Math.min(options.port + PORTS_TRIED, 65_535);
    for (let port = options.port; port <= last; port++) {
      const failure = await tryListen(server, options.host, port);
      if (failure === null) {
        const bound = server.address();
        const actual = typeof bound === 'object' && bound !== null ? bound.port : port;
        return new Dashboard(server, actual);
      }
      if (failure.code !== 'EADDRINUSE') {
        const message = `the dashboard cannot listen on ${options.host}:${port}: ${failure.message}`;
        throw new FarmError('ERR_ADDRESS', message, { cause: failure });
      }
      options.logger.warn(`dashboard port ${port} is in use, trying ${port + 1}`);
    }
    throw new FarmError(
      'ERR_ADDRESS',
      `dashboard ports ${options.port} to ${last} are all in use; choose another with ` +
        '--dashboard-address, or --no-dashboard',
    );
  }

  /** Stops listening and ends open requests. Idempotent. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function tryListen(
  server: Server,
  host: string,
  port: number,
): Promise<NodeJS.ErrnoException | null> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | null>();
  const failed = (error: NodeJS.ErrnoException): void => resolve(error);
  server.once('error', failed);
  server.listen(port, host, () => {
    server.removeListener('error', failed);
    resolve(null);
  });
  return promise;
}

function answer(
  options: DashboardOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  response.setHeader('Content-Security-Policy', "default-src 'self'; frame-ancestors 'none'");
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Cache-Control', 'no-store');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    send(response, 405, 'text/plain', 'the dashboard only answers GET\n');
    return;
  }
  const path = pathOf(request);
  if (path === null) {
    send(response, 400, 'text/plain', 'malformed URL\n');
    return;
  }
  const access = checkAccess(request, options.token);
  if (access.kind === 'refused') {
    response.setHeader('WWW-Authenticate', 'Bearer');
    send(
      response,
      401,
      'text/plain',
      'a token is needed: open status?token=TOKEN or send "Authorization: Bearer TOKEN", where ' +
        'TOKEN is farm.tokens.client in the scheduler file\n',
    );
    return;
  }
  if (access.kind === 'url') {
    response.setHeader('Set-Cookie', access.cookie);
    response.setHeader('Location', access.location);
    send(response, 303, 'text/plain', 'see there\n');
    return;
  }
  route(options, path, response);
}

function pathOf(request: IncomingMessage): string | null {
  try {
    return new URL(request.url ?? '/', 'http://dashboard').pathname;
  } catch {
    return null;
  }
}

function route(options: DashboardOptions, path: string, response: ServerResponse): void {
  switch (path) {
    case '/health':
      send(response, 200, 'text/plain', 'ok\n');
      return;
    case '/api/v1/info':
      sendJson(response, options.info());
      return;
    case '/api/v1/counts':
      sendJson(response, counts(options.info()));
      return;
    case '/api/v1/workers':
      sendJson(response, options.info().workers);
      return;
    case '/':
    case '/status':
      send(response, 200, 'text/html', PAGE_HTML);
      return;
    case '/status.css':
      send(response, 200, 'text/css', PAGE_CSS);
      return;
    case '/status.js':
      send(response, 200, 'text/javascript', PAGE_JS);
      return;
    default:
      send(response, 404, 'text/plain', `nothing at ${path}; the page is at status\n`);
  }
}

function counts(info: SchedulerInfo): object {
  const threads = info.workers.reduce((sum, worker) => sum + worker.nthreads, 0);
  return { ...info.tasks, workers: info.workers.length, threads, clients: info.clients };
}

function sendJson(response: ServerResponse, value: unknown): void {
  send(response, 200, 'application/json', `${JSON.stringify(value)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', `${type}; charset=utf-8`);
  response.end(body);
}
