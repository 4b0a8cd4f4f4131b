import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Types commands into a shell in tmux, looks at its screen while they run, and draws what was seen: an SVG whose frames
 * stand below one another and are moved through its window by CSS. Where nothing moves, the last one is seen.
 */
class Record {
    private static final int COLUMNS = 80;
    private static final int ROWS = 22;
    private static final double LINE = 17;
    /** How long a frame stays at most, and the last one of a command, in seconds: waiting is not shown. */
    private static final double LONGEST = 0.25;
    private static final double PAUSE = 2.2;

    private static final Map<String, List<String>> RECORDINGS = new LinkedHashMap<>();

    static {
        RECORDINGS.put("first", List.of("cd ~/projects/demo", "sandbox demo hostname", "echo hello > note.txt",
                "sandbox demo cat note.txt", "sandbox demo sh -c 'echo hello back >> note.txt'", "cat note.txt"));
        RECORDINGS.put("list", List.of("cd ~/projects/api", "sandbox api true", "sandbox list",
                "sandbox stop .", "sandbox list"));
        RECORDINGS.put("snapshot", List.of("cd ~/projects/demo", "sandbox snapshot create demo clean",
                "sandbox demo sudo sh -c 'echo mess > /etc/agent.conf'", "sandbox snapshot apply demo clean",
                "sandbox demo ls /etc/agent.conf"));
    }

    private record Frame(List<String> lines, double seconds) {}

    private final Path home;
    private final Path prompts;
    private final List<Frame> frames = new ArrayList<>();

    private Record(Path home) {
        this.home = home;
        prompts = home.resolve(".prompts");
    }

    /** Takes the home directory of the pretended user, the folder for the pictures, and names of recordings. */
    public static void main(String[] args) throws Exception {
        List<String> wanted = List.of(args).subList(2, args.length);
        for (Map.Entry<String, List<String>> recording : RECORDINGS.entrySet()) {
            Record record = new Record(Path.of(args[0]));
            record.run(recording.getValue()); // the later ones need what the earlier ones leave
            if (wanted.isEmpty() || wanted.contains(recording.getKey())) {
                Path file = Path.of(args[1]).resolve(recording.getKey() + ".svg");
                Files.writeString(file, record.svg(String.join("; ", recording.getValue())));
                System.err.println("record: " + file + ", " + Files.size(file) + " bytes");
            }
        }
    }

    private void run(List<String> commands) throws Exception {
        Files.deleteIfExists(prompts);
        tmux("new-session", "-d", "-x", "" + COLUMNS, "-y", "" + ROWS, "-c", home.toString(), "env", "-i",
                "HOME=" + home, "USER=" + System.getProperty("user.name"), "PATH=" + System.getenv("PATH"),
                "LANG=C.UTF-8", "TERM=xterm-256color", "SANDBOX_MEMORY=1", "SANDBOX_CPUS=1", "HISTFILE=",
                "PROMPT_COMMAND=echo >>" + prompts, "PS1=$ ", "bash", "--norc");
        tmux("set-option", "-g", "status", "off");
        try {
            int done = 1;
            await(done);
            for (String command : commands) {
                look(0.4);
                tmux("send-keys", "-l", command);
                Thread.sleep(200);
                look(0.9);
                tmux("send-keys", "Enter");
                await(++done);
                Thread.sleep(200);
                look(PAUSE);
            }
        } finally {
            tmux("kill-server");
        }
    }

    /** Looks at the screen until that many prompts were written. */
    private void await(int count) throws Exception {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(5);
        while (!Files.exists(prompts) || Files.size(prompts) < count) {
            if (System.nanoTime() > end) {
                throw new IOException("no prompt after five minutes: " + screen());
            }
            look(0.1);
            Thread.sleep(100);
        }
    }

    /** What the screen shows now stays for so long, besides what it stayed already. */
    private void look(double seconds) throws Exception {
        List<String> now = screen();
        int last = frames.size() - 1;
        if (last < 0 || !frames.get(last).lines.equals(now)) {
            frames.add(new Frame(now, seconds));
        } else if (seconds > LONGEST || frames.get(last).seconds < LONGEST) {
            frames.set(last, new Frame(now, frames.get(last).seconds + seconds));
        }
    }

    private List<String> screen() throws Exception {
        return tmux("capture-pane", "-p").replace(home.toString(), "/home/me").lines().map(String::stripTrailing)
                .toList();
    }

    private String tmux(String... words) throws Exception {
        List<String> command = new ArrayList<>(List.of("tmux", "-S", home.resolve(".tmux").toString(), "-f",
                "/dev/null"));
        command.addAll(List.of(words));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(command + ": " + out);
        }
        return out;
    }

    // --- The picture.

    private String svg(String title) {
        int rows = frames.stream().mapToInt(frame -> used(frame.lines)).max().orElse(1);
        double height = rows * LINE + 24;
        double total = frames.stream().mapToDouble(Frame::seconds).sum();
        StringBuilder defs = new StringBuilder();
        StringBuilder strip = new StringBuilder();
        StringBuilder steps = new StringBuilder();
        Map<String, String> ids = new LinkedHashMap<>();
        double at = 0;
        for (int i = 0; i < frames.size(); i++) {
            steps.append("%.2f%%{transform:translateY(%.0fpx)}".formatted(100 * at / total, -i * height));
            at += frames.get(i).seconds;
            strip.append("<g transform=\"translate(14 %.0f)\">".formatted(i * height));
            for (int row = 0; row < used(frames.get(i).lines); row++) {
                String line = frames.get(i).lines.get(row);
                if (!line.isEmpty()) {
                    String id = ids.computeIfAbsent(line, l -> {
                        String made = "l" + ids.size();
                        defs.append("<text id=\"%s\"%s>%s</text>\n".formatted(made, style(l), escaped(l)));
                        return made;
                    });
                    strip.append("<use href=\"#%s\" y=\"%.0f\"/>".formatted(id, 24 + row * LINE));
                }
            }
            strip.append("</g>\n");
        }
        return """
                <svg xmlns="http://www.w3.org/2000/svg" width="720" height="%1$.0f" viewBox="0 0 720 %1$.0f" role="img" xml:space="preserve">
                <title>%2$s</title>
                <style>
                text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d4d8de;white-space:pre}
                .c{fill:#fff;font-weight:600}.s{fill:#8fa3b8}
                #strip{transform:translateY(%3$.0fpx);animation:play %4$.1fs step-end infinite}
                @keyframes play{%5$s}
                @media(prefers-reduced-motion:reduce){#strip{animation:none}}
                </style>
                <defs>
                %6$s</defs>
                <rect width="720" height="%1$.0f" rx="8" fill="#1d2127"/>
                <g id="strip">
                %7$s</g>
                </svg>
                """.formatted(height, escaped(title), -(frames.size() - 1) * height, total, steps, defs, strip);
    }

    private static int used(List<String> lines) {
        int used = lines.size();
        while (used > 0 && lines.get(used - 1).isEmpty()) {
            used--;
        }
        return used;
    }

    /** What was typed, what the commands say of their own, what a command printed. */
    private static String style(String line) {
        return line.startsWith("$") ? " class=\"c\"" : line.matches("[a-z-]+: .*") ? " class=\"s\"" : "";
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    }
}
