package dev.limasandbox.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Agents are installed when they are first called. The guest's npm is a small program here, which writes what it is told. */
class AgentsTest {
    /** Its last word is the package; the agent it installs tells the package and its arguments. */
    private static final String NPM = """
            mkdir -p ~/.local/bin
            cat > ~/.local/bin/npm <<'END'
            #!/bin/sh
            for spec; do :; done
            echo "$*" >> ~/npm.log
            case $spec in
            *claude-code*) a=claude ;; *codex*) a=codex ;; *gemini*) a=gemini ;; *opencode*) a=opencode ;; *copilot*) a=copilot ;;
            esac
            case $spec in
            *@0.0.1) echo "npm error 404 Not Found - $spec" >&2; exit 1 ;;
            *@0.0.2) printf '#!/bin/sh\\necho broken agent >&2; exit 9\\n' > ~/.local/bin/$a ;;
            *) printf '#!/bin/sh\\nprintf "<%%s>" "'"$spec"'" "$@"\\n' > ~/.local/bin/$a ;;
            esac
            chmod +x ~/.local/bin/$a
            END
            chmod +x ~/.local/bin/npm
            """;

    private static World world;
    private static Path template;
    private static Path project;

    @BeforeAll
    static void sandbox() {
        world = World.shared();
        template = world.template("user", NPM);
        project = world.project("agents");
        cli(project).run("agents", "true").exits(0);
    }

    @AfterAll
    static void delete() {
        world.delete("agents", "agents2", "agents3");
    }

    private static Cli cli(Path directory) {
        return world.at(directory).env("SANDBOX_TEMPLATE", template.toString());
    }

    @ParameterizedTest
    @CsvSource({
            "claude, @anthropic-ai/claude-code", "codex, @openai/codex", "gemini, @google/gemini-cli",
            "opencode, opencode-ai",
            "copilot, @github/copilot"
    })
    void aMissingAgentIsInstalledWithProgressAndThenRun(String agent, String npm) {
        world.at(project).run("agents", "sh", "-c", "rm -f ~/.local/bin/" + agent).exits(0);
        world.at(project).run("agents", agent, "-p", "a b").exits(0).out("<" + npm + "><-p><a b>")
                .errHas("installing " + agent);
        world.at(project).run("agents", agent, "--version").exits(0).out("<" + npm + "><--version>").silent();
    }

    @Test
    void addAgentInstallsWithoutRunning() {
        world.at(project).run("--add-agent", "codex@1.2.3", "agents").exits(0).out("").errHas("installing codex");
        world.at(project).run("agents", "codex", "x").exits(0).out("<@openai/codex@1.2.3><x>");
    }

    @Test
    void addAgentAndThenACommand() {
        world.at(project).run("agents", "--add-agent", "gemini@3.0.0", "echo", "done").exits(0).out("done\n");
        world.at(project).run("agents", "gemini").exits(0).out("<@google/gemini-cli@3.0.0>");
    }

    @Test
    void anAgentThatCannotBeInstalledIsOurFailure() {
        world.at(project).run("--add-agent", "opencode@0.0.1", "agents").exits(125).out("").errHas("opencode", "404");
    }

    @Test
    void anAgentThatDoesNotRunWasNotInstalled() {
        world.at(project).run("--add-agent", "copilot@0.0.2", "agents").exits(125).out("").errHas("copilot",
                "broken agent");
        world.at(project).run("agents", "sh", "-c", "rm ~/.local/bin/copilot").exits(0);
    }

    @Test
    void anUnknownAgentIsAUsageError() {
        world.at(project).run("--add-agent", "cloude", "agents").exits(2).errHas("cloude", "claude", "codex", "gemini",
                "opencode");
    }

    @Test
    void inASecondSandboxTheAgentIsProposedForTheBaseWhichThenHasIt() {
        Path second = world.project("second");
        world.at(project).run("--add-agent", "opencode", "agents").exits(0);
        cli(second).run("agents2", "opencode").exits(0).errHas("--rebuild-base --add-agent opencode");
        cli(second).run("--rebuild-base", "--add-agent", "opencode").exits(0);
        Path third = world.project("third");
        cli(third).run("agents3", "opencode", "x").exits(0).out("<opencode-ai><x>").errLacks("installing");
    }

    @Test
    void anAgentAndItsLoginSurviveAStop() {
        world.at(project).run("--add-agent", "claude", "agents").exits(0);
        world.at(project).run("agents", "sh", "-c", "mkdir -p ~/.claude; echo mine > ~/.claude/.credentials.json")
                .exits(0);
        world.stop("agents");
        Cli.Result result = world.at(project).run("agents", "claude", "x").exits(0)
                .out("<@anthropic-ai/claude-code><x>");
        assertFalse(result.err().contains("installing"), result.err());
        assertEquals("mine\n", world.at(project).run("agents", "sh", "-c", "cat ~/.claude/.credentials.json").out());
    }
}
