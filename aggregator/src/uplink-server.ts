import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import { errorMessage } from "@weir/shared/errors";
import { isSeriesNamePart } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { AgentMessage, AggregatorMessage, Lane } from "@weir/shared/wire/messages";
import {
  decodeAgentMessage,
  decodeFrame,
  encodeMessage,
  LANES,
  MESSAGE_BYTES_MAX,
  WIRE_VERSION,
} from "@weir/shared/wire/messages";
import type { LiveEvents } from "./live-events.ts";
import type { AgentStore, Presence } from "./stores/agents.ts";
import { alertView, firingSilences } from "./stores/alerts.ts";
import type { SqlDatabase } from "./stores/database.ts";
import type { AppliedFrames, QueuedFrame } from "./stores/frame-queue.ts";
import { FrameQueue } from "./stores/frame-queue.ts";
import type { FrameOrigin, FrameStore } from "./stores/frames.ts";
import { createFrameChanges } from "./stores/frames.ts";
import type { ThresholdStore } from "./stores/thresholds.ts";

/**
 * The aggregator's end of the uplink: takes frames, commits them in groups, alerts first, and only then acknowledges.
 */
export interface UplinkServer extends Presence {
  /** Takes over the socket of an upgrade to /uplink. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sends a published version to every agent connected; others get it when they connect. */
  broadcast(version: ThresholdVersion): void;
  /** Tells agents that a report was issued, so that their replays carry its revision, and watchers what it changed. */
  reportIssued(day: string, revision: number, summary: string | null): void;
  /** Frames taken since the start, and those refused because they could not be applied. */
  counters(): { readonly frames: number; readonly failures: number };
  close(): Promise<void>;
}

export interface UplinkServerOptions {
  /** Empty: agents need none. */
  readonly token: string;
  readonly timezone: string;
  readonly now: () => number;
  readonly log: (line: string) => void;
  /** Revisions to tell an agent of when it connects. */
  readonly issuedRevisions: () => ReadonlyArray<{ readonly day: string; readonly revision: number }>;
}

/** A connection that says nothing for this long, not even a status, is dead (half-open). */
const SILENCE_MS_MAX = 20_000;

/** Silence alerts that watchers are told of again when an agent comes or goes, at most, the newest. */
const SILENCES_RETOLD_MAX = 256;

interface Connection {
  readonly socket: WebSocket;
  origin: FrameOrigin | undefined;
  /**
   * A tick of this connection was applied. Alerts go before all other frames, so what the agent knew of silences when
   * it connected is here by then, however old the tick is; its clock need not agree with ours.
   */
  caughtUp: boolean;
  /** By performance.now(): whoever sets the clock must neither end all connections nor keep dead ones. */
  lastHeardMs: number;
  /** It is being ended: what still arrives would be applied past a frame that was not, which would lose that one. */
  ended: boolean;
}

/** Opens no port: the HTTP server hands it the upgrades. */
export function createUplinkServer(
  db: SqlDatabase,
  frames: FrameStore,
  agents: AgentStore,
  thresholds: ThresholdStore,
  events: LiveEvents,
  options: UplinkServerOptions,
): UplinkServer {
  const server = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_BYTES_MAX });
  const connections = new Set<Connection>();
  const queue = new FrameQueue<Connection>(db, frames, options.now);
  let scheduled = false;
  let closed = false;
  let frameCount = 0;
  let failures = 0;

  const send = (connection: Connection, message: AggregatorMessage): void => {
    if (connection.socket.readyState === WebSocket.OPEN) connection.socket.send(encodeMessage(message));
  };
  const refuse = (connection: Connection, code: string, message: string): void => {
    connection.ended = true;
    queue.drop(connection);
    send(connection, { type: "refused", code, message });
    connection.socket.close(1008, code);
  };
  const end = (connection: Connection): void => {
    connection.ended = true;
    queue.drop(connection);
    connection.socket.terminate();
  };
  const isConnected = (agent: string): boolean =>
    [...connections].some((connection) => connection.origin?.agent === agent);
  const caughtUp = (): Set<string> =>
    new Set([...connections].flatMap(({ caughtUp: is, origin }) => (is && origin ? [origin.agent] : [])));

  const greet = (connection: Connection, hello: Extract<AgentMessage, { type: "hello" }>): void => {
    if (hello.wire !== WIRE_VERSION) {
      const message = `it speaks version ${String(hello.wire)} of the uplink, this aggregator ${WIRE_VERSION}. Update the older one.`;
      refuse(connection, "WIRE_VERSION", message);
      return;
    }
    if (!isSeriesNamePart(hello.agent) || typeof hello.incarnation !== "string" || hello.incarnation.length > 64) {
      refuse(connection, "BAD_AGENT", "agent.id is not a name.");
      return;
    }
    for (const other of connections) {
      if (other === connection || other.ended || other.origin?.agent !== hello.agent) continue;
      if (other.origin.incarnation !== hello.incarnation) {
        options.log(
          `Refused a second agent named ${hello.agent}: two gateways share a name, or one has lost its data.`,
        );
        const message = `an agent named ${hello.agent} with another data file is connected. Give each its own agent.id.`;
        refuse(connection, "AGENT_CONNECTED", message);
        return;
      }
      // The same agent again: its old connection is half-open.
      end(other);
    }
    const origin = { agent: hello.agent, incarnation: hello.incarnation };
    connection.origin = origin;
    agents.seen(origin, hello.software, options.now());
    const known = Array.isArray(hello.thresholdVersions) ? hello.thresholdVersions : [];
    for (const version of known) thresholds.acknowledged(origin.agent, Number(version));
    const applied = Object.fromEntries(LANES.map((lane) => [lane, frames.appliedSeq(origin, lane)]));
    const seriesKnown = frames.seriesKnown(origin);
    send(connection, {
      type: "welcome",
      wire: WIRE_VERSION,
      timezone: options.timezone,
      applied: applied as Record<Lane, number>,
      seriesKnown,
    });
    for (const version of thresholds.published()) {
      if (!known.includes(version.version)) send(connection, { type: "thresholds", version });
    }
    for (const { day, revision } of options.issuedRevisions()) send(connection, { type: "report", day, revision });
    publishAgent(origin.agent);
  };

  const publishAgent = (agent: string): void => {
    const view = agents.view(agent, { isConnected, caughtUp });
    if (view) events.publish({ type: "agent", agent: view });
  };

  /** Whether its silence alerts are held back has changed: watchers are told of the agent and of them. */
  const publishSilences = (agent: string): void => {
    publishAgent(agent);
    publishAlerts(firingSilences(db, agent, SILENCES_RETOLD_MAX));
  };

  const publishAlerts = (alerts: ReadonlyArray<Parameters<typeof alertView>[0]>): void => {
    if (alerts.length === 0) return;
    const heard = caughtUp();
    for (const alert of alerts) events.publish({ type: "alert", alert: alertView(alert, heard) });
  };

  const noteTick = (agent: string): void => {
    const connection = [...connections].find(({ origin, ended }) => !ended && origin?.agent === agent);
    if (!connection || connection.caughtUp) return;
    connection.caughtUp = true;
    publishSilences(agent);
  };

  const receive = (connection: Connection, message: AgentMessage): void => {
    if (connection.ended) return;
    connection.lastHeardMs = performance.now();
    if (message.type === "hello") {
      greet(connection, message);
      return;
    }
    const origin = connection.origin;
    if (!origin) {
      refuse(connection, "NO_HELLO", "the first message must be a hello.");
      return;
    }
    switch (message.type) {
      case "names":
        db.transaction(() => frames.name(origin, message.series));
        break;
      case "frame":
        queue.push({ sender: connection, origin, lane: message.lane, seq: message.seq, body: message.frame });
        schedule();
        break;
      case "ahead":
        showAhead(origin, message.seq, message.frame);
        break;
      case "thresholdsStored":
        thresholds.acknowledged(origin.agent, message.version);
        publishAgent(origin.agent);
        break;
      case "status":
        agents.status(origin, message, options.now());
        publishAgent(origin.agent);
        break;
    }
  };

  /** Alerts of the present, shown before a backlog of older ones is through. They come again, and are acknowledged then. */
  const showAhead = (origin: FrameOrigin, seq: number, body: Uint8Array): void => {
    const changes = createFrameChanges();
    try {
      db.transaction(() => frames.applyAhead(origin, seq, decodeFrame(body), options.now(), changes));
    } catch (error) {
      options.log(`Cannot show alerts of ${origin.agent} ahead of their turn: ${errorMessage(error)}`);
      return;
    }
    publishAlerts(changes.alerts);
  };

  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      applyQueued();
      if (LANES.some((lane) => queue.waiting(lane) > 0)) schedule();
    });
  };

  /** One transaction of each lane, alerts first. Sockets and requests get their turn before the next. */
  const applyQueued = (): void => {
    for (const lane of LANES) if (queue.waiting(lane) > 0) tell(lane, queue.applyNext(lane));
  };

  /** Acks and news, after the commit. */
  const tell = (lane: Lane, applied: AppliedFrames<Connection>): void => {
    frameCount += applied.frames.length;
    const newest = new Map<Connection, number>();
    for (const { sender, seq } of applied.frames) newest.set(sender, seq);
    publishAlerts(applied.changes.alerts);
    for (const [connection, seq] of newest) send(connection, { type: "ack", lane, seq });
    for (const { site, device, metrics, lastTsMs } of applied.changes.devices.values()) {
      events.publish({ type: "series", site, device, metrics: [...metrics], lastTsMs });
    }
    for (const agent of applied.changes.ticked) noteTick(agent);
    if (applied.failed) fail(applied.failed.frame, applied.failed.error);
  };

  const fail = ({ sender, origin, lane, seq }: QueuedFrame<Connection>, error: unknown): void => {
    failures++;
    const reason = errorMessage(error);
    options.log(`Cannot apply a frame of ${origin.agent}: ${reason}. The agent keeps it and sends it again.`);
    refuse(sender, "FRAME_FAILED", `frame ${seq} of its ${lane} cannot be applied: ${reason}`);
  };

  const accept = (socket: WebSocket): void => {
    const connection: Connection = {
      socket,
      origin: undefined,
      caughtUp: false,
      lastHeardMs: performance.now(),
      ended: false,
    };
    connections.add(connection);
    socket.on("ping", () => (connection.lastHeardMs = performance.now()));
    socket.on("message", (data: Buffer) => {
      try {
        receive(connection, decodeAgentMessage(data));
      } catch (error) {
        options.log(`An agent's connection is closed: ${errorMessage(error)}`);
        end(connection);
      }
    });
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      connections.delete(connection);
      queue.drop(connection);
      // The store may be closed by the time that the last connections are.
      if (!connection.origin || closed) return;
      if (connection.caughtUp) publishSilences(connection.origin.agent);
      else publishAgent(connection.origin.agent);
    });
  };

  const watching = setInterval(() => {
    for (const { socket, lastHeardMs } of connections) {
      if (performance.now() - lastHeardMs > SILENCE_MS_MAX) socket.terminate();
    }
  }, SILENCE_MS_MAX / 4);

  return {
    upgrade(request, socket, head) {
      if (!hasToken(request, options.token)) {
        socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      server.handleUpgrade(request, socket, head, accept);
    },
    broadcast(version) {
      // Made once: a version may have a band for each of thousands of series.
      const message = encodeMessage({ type: "thresholds", version });
      for (const { origin, socket } of connections) {
        if (origin && socket.readyState === WebSocket.OPEN) socket.send(message);
      }
    },
    reportIssued(day, revision, summary) {
      for (const connection of connections) if (connection.origin) send(connection, { type: "report", day, revision });
      events.publish({ type: "report", day, revision, summary });
    },
    isConnected,
    caughtUp,
    counters: () => ({ frames: frameCount, failures }),
    async close() {
      clearInterval(watching);
      // What has arrived is applied; the rest the agents keep.
      while (LANES.some((lane) => queue.waiting(lane) > 0)) applyQueued();
      for (const { socket } of connections) socket.close(1001);
      const deadlineMs = performance.now() + 1000;
      while (connections.size > 0 && performance.now() < deadlineMs)
        await new Promise((resolve) => setTimeout(resolve, 10));
      closed = true;
      for (const connection of connections) end(connection);
      server.close();
    },
  };
}

function hasToken(request: IncomingMessage, token: string): boolean {
  if (token === "") return true;
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
