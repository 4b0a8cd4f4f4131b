package dev.limasandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Processors, memory, disk: from options, else the environment, else the guide's defaults. */
class ResourcesTest {
    private static Sandbox.Resources of(Integer cpus, String memory, String disk, Map<String, String> environment) {
        return Sandbox.Resources.of(cpus, memory, disk, Hosts.host(Path.of("/home/me"), environment));
    }

    @Test
    void defaultsFollowTheComputer() {
        Sandbox.Resources r = of(null, "0.5", null, Map.of());
        assertEquals(Math.min(4, Runtime.getRuntime().availableProcessors()), r.cpus());
        assertEquals(50, r.disk());
    }

    @Test
    void theEnvironmentCounts() {
        Map<String, String> environment = Map.of("SANDBOX_CPUS", "1", "SANDBOX_MEMORY", "0.5", "SANDBOX_DISK", "30");
        assertEquals(new Sandbox.Resources(1, 0.5, 30), of(null, null, null, environment));
    }

    @Test
    void optionsCountMore() {
        Map<String, String> environment = Map.of("SANDBOX_CPUS", "99", "SANDBOX_MEMORY", "lots", "SANDBOX_DISK", "0");
        assertEquals(new Sandbox.Resources(1, 0.25, 20), of(1, "0.25", "20", environment));
    }

    @ParameterizedTest
    @CsvSource({"4, 4", "1.5, 1.5", "2g, 2", "2G, 2", "2GiB, 2", "2 GB, 2", "0.25, 0.25"})
    void sizesAreGibibytes(String text, double expected) {
        assertEquals(expected, Sandbox.Resources.size("--memory", text));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "0", "-1", "1e3", "4096M", "four", "1,5", "999999", "0x10", "NaN"})
    void whatIsNoSizeIsAUsageErrorThatNamesIt(String text) {
        Sandbox.Lima.Failure failure = assertThrows(Sandbox.Lima.Failure.class,
                () -> Sandbox.Resources.size("--memory", text));
        assertEquals(2, failure.code);
        assertTrue(failure.getMessage().contains("--memory"), failure.getMessage());
    }

    @Test
    void moreThanTheComputerHasIsAUsageError() {
        assertEquals(2, assertThrows(Sandbox.Lima.Failure.class, () -> of(9999, null, null, Map.of())).code);
        assertEquals(2, assertThrows(Sandbox.Lima.Failure.class, () -> of(1, "99999", null, Map.of())).code);
        assertEquals(2, assertThrows(Sandbox.Lima.Failure.class, () -> of(0, "1", null, Map.of())).code);
    }

    @ParameterizedTest
    @CsvSource({"4294967296, 4 GiB", "1610612736, 1.5 GiB", "53687091200, 50 GiB"})
    void sizesAreToldShortly(long bytes, String expected) {
        assertEquals(expected, Sandbox.Resources.gib(bytes));
    }
}
