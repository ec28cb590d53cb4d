import { WebSocket } from "ws";
import { errorMessage } from "@weir/shared/errors";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { AgentMessage, AgentStatus, AggregatorMessage, Lane } from "@weir/shared/wire/messages";
import {
  decodeAggregatorMessage,
  encodeMessage,
  LANES,
  MESSAGE_BYTES_MAX,
  WIRE_VERSION,
} from "@weir/shared/wire/messages";

/**
 * The connection to the aggregator: frames of the outbox up, threshold versions down.
 *
 * Frames go in the order of their lane, alerts before data, with at most windowBytes unacknowledged. An ack is
 * cumulative and comes after the aggregator's commit; only then are frames forgotten. After a reconnect the
 * aggregator's welcome says what it has, and sending goes on from there.
 */

/** The outbox, as the uplink sees it. */
export interface Outbox {
  frames(
    lane: Lane,
    afterSeq: number,
    limit: number,
  ): ReadonlyArray<{ readonly seq: number; readonly body: Uint8Array }>;
  acknowledge(lane: Lane, throughSeq: number): void;
  /** The newest frames of a lane after a sequence, newest first, at most `limit`. */
  newestFrames(
    lane: Lane,
    afterSeq: number,
    limit: number,
  ): ReadonlyArray<{ readonly seq: number; readonly body: Uint8Array }>;
}

export interface UplinkHooks {
  /** Stores a version and judges by it; throws when it could not be made durable. */
  thresholds(version: ThresholdVersion): void;
  /** Versions the agent holds, for the hello. */
  thresholdVersions(): readonly number[];
  /** The aggregator's time zone, and the revision of a report that it issued. */
  timezone(timezone: string): void;
  reportIssued(day: string, revision: number): void;
  /** Index, site, device and metric of the series from an index on. */
  seriesNames(fromIndex: number): ReadonlyArray<readonly [number, string, string, string]>;
  /** For the fleet view, every statusIntervalMs. */
  status(): AgentStatus;
  log(message: string): void;
}

/** Where to, and who says so. windowBytes: frames sent and not yet acknowledged, at most. */
export interface UplinkOptions {
  readonly url: string;
  readonly token: string;
  readonly agent: string;
  readonly incarnation: string;
  readonly software: string;
  readonly windowBytes: number;
  /** Wait before the first attempt to connect again; doubled with each, to RETRY_MS_MAX. Default RETRY_MS_FIRST. */
  readonly retryMsFirst?: number;
  /** How often the aggregator is pinged. Default PING_INTERVAL_MS. */
  readonly pingIntervalMs?: number;
  /** No message, not even a ping's answer, for this long: the connection is dead (half-open). Default SILENCE_MS_MAX. */
  readonly silenceMsMax?: number;
}

export interface Uplink {
  /** Frames were added to the outbox. */
  wake(): void;
  readonly connected: boolean;
  /** Waits, at most timeoutMs, until everything in the outbox has been acknowledged; then closes. */
  close(timeoutMs: number): Promise<void>;
}

/** Waits between attempts: doubled from the first to the last, then shortened by up to half at random. */
const RETRY_MS_FIRST = 250;
const RETRY_MS_MAX = 15_000;

const SILENCE_MS_MAX = 15_000;
const PING_INTERVAL_MS = 5_000;
const STATUS_INTERVAL_MS = 2_000;

/** Frames read from the outbox at once. */
const FRAMES_PER_READ = 64;
const NAMES_PER_MESSAGE = 5_000;

/** Frames of alerts that may wait before the newest are sent ahead of them, and how many those are, at most. */
const AHEAD_AFTER_FRAMES = 16;
const AHEAD_FRAMES_MAX = 16;

/** Opens the uplink and keeps it open. random: 0 ≤ random() < 1, for the jitter of retries. */
export function createUplink(outbox: Outbox, hooks: UplinkHooks, random: () => number, options: UplinkOptions): Uplink {
  const { retryMsFirst = RETRY_MS_FIRST, pingIntervalMs = PING_INTERVAL_MS, silenceMsMax = SILENCE_MS_MAX } = options;
  const sentSeq: Record<Lane, number> = { alerts: 0, data: 0 };
  /** The newest frame of alerts that was sent ahead of its turn. */
  let aheadSeq = 0;
  const inFlight: Array<{ lane: Lane; seq: number; bytes: number }> = [];
  let inFlightBytes = 0;
  let socket: WebSocket | undefined;
  let welcomed = false;
  let closing = false;
  let retryMs = retryMsFirst;
  let openedMs = 0;
  let lastHeardMs = 0;
  let lastComplaint = "";
  const timers = new Set<NodeJS.Timeout>();

  const send = (message: AgentMessage): void => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(encodeMessage(message));
  };

  /** After an outage people want to know what is wrong now before they learn what was. */
  const sendAhead = (): void => {
    const afterSeq = Math.max(aheadSeq, sentSeq.alerts + AHEAD_AFTER_FRAMES);
    const newest = outbox.newestFrames("alerts", afterSeq, AHEAD_FRAMES_MAX);
    for (const { seq, body } of newest) send({ type: "ahead", seq, frame: body });
    aheadSeq = newest[0]?.seq ?? aheadSeq;
  };

  const pump = (): void => {
    if (!welcomed) return;
    sendAhead();
    for (const lane of LANES) {
      while (inFlightBytes < options.windowBytes) {
        const frames = outbox.frames(lane, sentSeq[lane], FRAMES_PER_READ);
        if (frames.length === 0) break;
        for (const { seq, body } of frames) {
          if (inFlightBytes >= options.windowBytes) return;
          send({ type: "frame", lane, seq, frame: body });
          sentSeq[lane] = seq;
          inFlight.push({ lane, seq, bytes: body.length });
          inFlightBytes += body.length;
        }
      }
    }
  };

  /** Series are named once; only an aggregator with a new store asks for all of them again. */
  const sendNames = (known: number): void => {
    const names = hooks.seriesNames(known);
    for (let i = 0; i < names.length; i += NAMES_PER_MESSAGE) {
      send({ type: "names", series: names.slice(i, i + NAMES_PER_MESSAGE) });
    }
  };

  const acknowledged = (lane: Lane, seq: number): void => {
    outbox.acknowledge(lane, seq);
    let kept = 0;
    for (const frame of inFlight) {
      if (frame.lane === lane && frame.seq <= seq) inFlightBytes -= frame.bytes;
      else inFlight[kept++] = frame;
    }
    inFlight.length = kept;
    pump();
  };

  const receive = (message: AggregatorMessage): void => {
    switch (message.type) {
      case "welcome":
        welcomed = true;
        lastComplaint = "";
        hooks.timezone(message.timezone);
        aheadSeq = 0;
        for (const lane of LANES) {
          sentSeq[lane] = message.applied[lane];
          outbox.acknowledge(lane, message.applied[lane]);
        }
        sendNames(message.seriesKnown);
        hooks.log(`Connected to the aggregator at ${options.url}.`);
        pump();
        break;
      case "ack":
        // Only now: a connection that ends whenever frames are sent must not be opened again and again at once.
        retryMs = retryMsFirst;
        acknowledged(message.lane, message.seq);
        break;
      case "thresholds":
        hooks.thresholds(message.version);
        send({ type: "thresholdsStored", version: message.version.version });
        break;
      case "report":
        hooks.reportIssued(message.day, message.revision);
        break;
      case "refused":
        complain(`The aggregator refused this agent: ${message.message}`);
        retryMs = RETRY_MS_MAX;
        break;
    }
  };

  /** Says a thing once, not at every attempt. */
  const complain = (message: string): void => {
    if (message !== lastComplaint) hooks.log(message);
    lastComplaint = message;
  };

  const connect = (): void => {
    const headers = options.token ? { authorization: `Bearer ${options.token}` } : {};
    const opened = new WebSocket(options.url, { headers, maxPayload: MESSAGE_BYTES_MAX, handshakeTimeout: 10_000 });
    socket = opened;
    opened.binaryType = "nodebuffer";
    opened.on("open", () => {
      openedMs = performance.now();
      lastHeardMs = openedMs;
      const { agent, incarnation, software } = options;
      const thresholdVersions = hooks.thresholdVersions();
      send({ type: "hello", wire: WIRE_VERSION, agent, incarnation, software, thresholdVersions });
    });
    opened.on("pong", () => (lastHeardMs = performance.now()));
    opened.on("message", (data: Buffer) => {
      lastHeardMs = performance.now();
      try {
        receive(decodeAggregatorMessage(data));
      } catch (error) {
        complain(`Closing the uplink: ${errorMessage(error)}`);
        opened.terminate();
      }
    });
    opened.on("error", (error) => complain(`No uplink to ${options.url}: ${errorMessage(error)}. Trying again.`));
    opened.on("close", () => {
      if (welcomed && !closing) hooks.log("The uplink has closed; everything waits in the outbox.");
      const wasWelcomed = welcomed;
      welcomed = false;
      inFlight.length = 0;
      inFlightBytes = 0;
      if (closing) return;
      if (wasWelcomed && performance.now() - openedMs > RETRY_MS_MAX) retryMs = retryMsFirst;
      const timer = setTimeout(
        () => {
          timers.delete(timer);
          connect();
        },
        retryMs * (0.5 + random() / 2),
      );
      timers.add(timer);
      retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
    });
  };

  const pinging = setInterval(() => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    // Pongs come from the socket's library; an aggregator that does not answer the hello is as good as silent.
    const heardMs = welcomed ? lastHeardMs : openedMs;
    if (performance.now() - heardMs > silenceMsMax) socket.terminate();
    else socket.ping();
  }, pingIntervalMs);
  const reporting = setInterval(() => {
    if (welcomed) send({ type: "status", ...hooks.status() });
  }, STATUS_INTERVAL_MS);
  connect();

  return {
    wake: pump,
    get connected() {
      return welcomed;
    },
    async close(timeoutMs) {
      const deadlineMs = performance.now() + timeoutMs;
      pump();
      const isEmpty = (): boolean => LANES.every((lane) => outbox.frames(lane, 0, 1).length === 0);
      while (welcomed && !isEmpty() && performance.now() < deadlineMs) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      if (welcomed) send({ type: "status", ...hooks.status() });
      closing = true;
      clearInterval(pinging);
      clearInterval(reporting);
      for (const timer of timers) clearTimeout(timer);
      const closed = socket;
      if (!closed || closed.readyState === WebSocket.CLOSED) return;
      await new Promise<void>((resolve) => {
        closed.once("close", () => resolve());
        closed.close();
        setTimeout(() => closed.terminate(), 1000).unref();
      });
    },
  };
}
