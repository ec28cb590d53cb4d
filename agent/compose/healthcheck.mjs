// Health of the agent in its container: its MQTT endpoint takes connections.
import { connect } from "node:net";

const socket = connect(1883, "127.0.0.1", () => process.exit(0));
socket.once("error", () => process.exit(1));
