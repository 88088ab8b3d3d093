# One static library per module. dwspool_module(name DEPS modules... LIBS libraries...)
# spells the arrows; sources are src/<name>/*.cpp except main.cpp.

function(dwspool_compile_options target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast
    -Wnon-virtual-dtor -Woverloaded-virtual -Wswitch-enum -Wcast-align -Wformat=2)
  if(DWSPOOL_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(CMAKE_UNITY_BUILD)
    # Files that have nothing to do with each other are one to the compiler, and headers to it.
    target_compile_options(${target} PRIVATE
      -Wno-shadow $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
  if(DWSPOOL_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${DWSPOOL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
      # g++'s own headers set it off once they are instrumented.
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
    target_link_options(${target} PRIVATE -fsanitize=${DWSPOOL_SANITIZE})
  endif()
  if(DWSPOOL_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(DWSPOOL_COVERAGE)
    target_compile_options(${target} PRIVATE --coverage)
    target_link_options(${target} PRIVATE --coverage)
  endif()
  # Hardening that a network daemon should have; none of it shows on the relay path.
  target_compile_options(${target} PRIVATE -fstack-protector-strong)
  # With -z now the detour by the linkage table is for nothing.
  target_compile_options(${target} PRIVATE -fno-plt)
  target_link_options(${target} PRIVATE -Wl,-z,relro,-z,now)
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT DWSPOOL_SANITIZE)
    target_compile_definitions(${target} PRIVATE _FORTIFY_SOURCE=2)
  endif()
  if(DWSPOOL_LTO)
    set_property(TARGET ${target} PROPERTY INTERPROCEDURAL_OPTIMIZATION ON)
  endif()
endfunction()

function(dwspool_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  set(target dwspool_${name})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/dwspool/${name}/*.h)
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    dwspool_compile_options(${target})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
    # Verified: every public header compiles alone (target all_verify_interface_header_sets).
    target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}/include
                   FILES ${headers})
    set_property(TARGET ${target} PROPERTY VERIFY_INTERFACE_HEADER_SETS ON)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR}/include)
  endif()
  foreach(dep ${ARG_DEPS})
    target_link_libraries(${target} ${scope} dwspool_${dep})
  endforeach()
  target_link_libraries(${target} ${scope} ${ARG_LIBS} Threads::Threads)
endfunction()
